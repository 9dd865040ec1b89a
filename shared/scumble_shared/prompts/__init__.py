"""Prompts before they become part of a job: styles, wildcards and choices, decided by the seed.

A job has its final words, so that equal jobs give equal pictures. What is in here makes those words, the same in
Blender and on the command line, from what an artist wrote: styles first, then ``{a|b}`` and ``__name__``.
"""

from __future__ import annotations

from .files import WildcardFolder, default_styles_file, default_wildcard_folder, read_style_file, write_style_file
from .final import with_final_words
from .lora_tags import LoraTag, id_of, take_loras, with_loras
from .styles import Style, apply_styles, read_styles, write_styles
from .wildcards import escaped, expand, has_choices

__all__ = [
    "LoraTag",
    "Style",
    "WildcardFolder",
    "apply_styles",
    "default_styles_file",
    "default_wildcard_folder",
    "escaped",
    "expand",
    "has_choices",
    "id_of",
    "read_style_file",
    "read_styles",
    "take_loras",
    "with_final_words",
    "with_loras",
    "write_style_file",
    "write_styles",
]
