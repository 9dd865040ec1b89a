"""An object's own prompt, and what it is. Stored with the object; linked objects bring theirs along."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
from scumble_shared.ade20k import kinds_like

__all__ = ["SCUMBLE_PG_region", "regions_key", "register", "unregister"]

OVERRIDABLE = {"LIBRARY_OVERRIDABLE"}

_changes = 0


def regions_key() -> int:
    """Equal as long as nobody has changed an object's prompt or kind; undo and new objects aside."""
    return _changes


def _changed(_region: SCUMBLE_PG_region, _context: bpy.types.Context) -> None:
    global _changes
    _changes += 1


def _kinds(_region: SCUMBLE_PG_region, _context: bpy.types.Context | None, typed: str) -> Iterable[str]:
    return kinds_like(typed)


class SCUMBLE_PG_region(bpy.types.PropertyGroup):
    """See ``scumble_shared.job.Region`` and ``Label``."""

    enabled: bpy.props.BoolProperty(
        name="Use", description="Let this object's prompt act", default=True, override=OVERRIDABLE, update=_changed
    )
    prompt: bpy.props.StringProperty(
        name="Scumble Prompt",
        description="What this object is to look like, in the place of the prompt. On an object that shows instances "
        "it is for all of them",
        override=OVERRIDABLE,
        update=_changed,
    )
    weight: bpy.props.FloatProperty(
        name="Weight",
        description="How far the object's own prompt counts; the rest is the prompt of the whole picture",
        default=0.9,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        override=OVERRIDABLE,
        update=_changed,
    )
    kind: bpy.props.StringProperty(
        name="Kind",
        description="What segmentation says this object is, one of ADE20K's 150 kinds of things; empty to guess by "
        "the names of the object, its materials and its collections",
        search=_kinds,
        override=OVERRIDABLE,
        update=_changed,
    )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((SCUMBLE_PG_region,))


def register() -> None:
    _register_classes()
    bpy.types.Object.scumble_region = bpy.props.PointerProperty(
        type=SCUMBLE_PG_region, name="Scumble", override=OVERRIDABLE
    )


def unregister() -> None:
    del bpy.types.Object.scumble_region
    _unregister_classes()
