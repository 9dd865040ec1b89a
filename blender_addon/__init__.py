"""Scumble: diffusion over real geometry. What Blender calls when the extension is switched on and off."""

from __future__ import annotations

from . import (
    capture,
    models,
    operators,
    panels,
    preferences,
    presets,
    prompting,
    properties,
    pump,
    runtime,
    seamless,
    sheets,
    texture_all,
    translations,
    upscale,
)
from .apply import overlay
from .live import control as live
from .references import registration as references
from .regions import registration as regions

__all__ = ["register", "unregister"]

PARTS = (
    translations,
    preferences,
    properties,
    operators,
    presets,
    panels,
    prompting,
    references,
    regions,
    sheets,
    models,
    texture_all,
    seamless,
    upscale,
    overlay,
    runtime,
    live,
    pump,
)
"""In the order they come; they go in reverse."""


def register() -> None:
    for part in PARTS:
        part.register()


def unregister() -> None:
    for part in reversed(PARTS):
        part.unregister()
    capture.unregister()
