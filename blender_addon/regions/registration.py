"""What of objects' prompts and kinds Blender is told about."""

from __future__ import annotations

import bpy

from . import operators, panel, properties

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


def register() -> None:
    properties.register()
    _register_classes()


def unregister() -> None:
    _unregister_classes()
    properties.unregister()
