"""Which styles a scene uses. Stored with the scene, by name."""

from __future__ import annotations

import bpy

__all__ = ["SCUMBLE_PG_prompting", "register", "unregister"]


class SCUMBLE_PG_prompting(bpy.types.PropertyGroup):
    styles: bpy.props.StringProperty(
        name="Styles", description="Names of the styles that are added to the prompt, one a line"
    )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((SCUMBLE_PG_prompting,))


def register() -> None:
    _register_classes()
    bpy.types.Scene.scumble_prompting = bpy.props.PointerProperty(type=SCUMBLE_PG_prompting, name="Scumble Prompting")


def unregister() -> None:
    del bpy.types.Scene.scumble_prompting
    _unregister_classes()
