"""A scene's prompt as a job has it: styles added, choices made by the seed, LoRAs taken out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import bpy
from scumble_shared import prompts
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import GenerateJob, Region, TextureJob
from scumble_shared.prompts import (
    Style,
    WildcardFolder,
    apply_styles,
    default_styles_file,
    default_wildcard_folder,
    has_choices,
    read_style_file,
)

from .preferences import preferences

__all__ = [
    "Written",
    "in_style",
    "known_styles",
    "names_of",
    "set_names",
    "styles_file",
    "wildcards",
    "with_final_words",
    "written",
]

Worded = TypeVar("Worded", GenerateJob, TextureJob)

_kept: tuple[object, tuple[Style, ...]] | None = None
"""The styles of a file, with the file's path and time."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the artist wrote, styles included."""

    prompt: str
    negative_prompt: str

    @property
    def has_choices(self) -> bool:
        return has_choices(self.prompt) or has_choices(self.negative_prompt)


def names_of(scene: bpy.types.Scene) -> list[str]:
    """Names of a scene's styles, in order."""
    return [name for name in scene.scumble_prompting.styles.split("\n") if name]


def set_names(scene: bpy.types.Scene, names: Iterable[str]) -> None:
    scene.scumble_prompting.styles = "\n".join(names)


def styles_file() -> Path:
    chosen = preferences().styles_file
    return Path(bpy.path.abspath(chosen)) if chosen else default_styles_file()


def wildcards() -> WildcardFolder:
    chosen = preferences().wildcard_folder
    return WildcardFolder(Path(bpy.path.abspath(chosen)) if chosen else default_wildcard_folder())


def known_styles() -> tuple[Style, ...]:
    """Read again when the file has changed. Raises ScumbleError INVALID_FIELD for a file that is damaged."""
    global _kept
    path = styles_file()
    key = (path, path.stat().st_mtime_ns if path.exists() else 0)
    if _kept is None or _kept[0] != key:
        _kept = (key, read_style_file(path))
    return _kept[1]


def written(scene: bpy.types.Scene) -> Written:
    """Raises ScumbleError INVALID_FIELD for a style that isn't there any longer."""
    settings, styles = scene.scumble, _styles_of(scene)
    return Written(*apply_styles(settings.prompt, settings.negative_prompt, styles))


def in_style(scene: bpy.types.Scene, regions: Iterable[Region]) -> tuple[Region, ...]:
    """Regions whose prompts have the scene's styles, too. Raises as :func:`written`."""
    styles = _styles_of(scene)
    return tuple(replace(region, prompt=apply_styles(region.prompt, "", styles)[0]) for region in regions)


def _styles_of(scene: bpy.types.Scene) -> list[Style]:
    names = names_of(scene)
    if not names:
        return []
    known = {style.name: style for style in known_styles()}
    for name in names:
        if name not in known:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"the style {name} isn't in {styles_file()}",
                field="styles",
                remedy=Remedy("Take it off the prompt, or choose another file in the preferences"),
            )
    return [known[name] for name in names]


def with_final_words(job: Worded) -> Worded:
    """See :func:`scumble_shared.prompts.with_final_words`; wildcards are those of the preferences."""
    return prompts.with_final_words(job, wildcards())
