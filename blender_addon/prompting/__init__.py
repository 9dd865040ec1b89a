"""Words: styles, wildcards and LoRAs in a prompt, and settings out of a picture that says how it was made."""

from __future__ import annotations

import bpy

from . import operators, panel, properties, taking

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (*operators.CLASSES, *taking.CLASSES, *panel.CLASSES)
)


def register() -> None:
    properties.register()
    _register_classes()


def unregister() -> None:
    _unregister_classes()
    properties.unregister()
