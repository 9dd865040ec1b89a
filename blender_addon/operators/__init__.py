"""What buttons, menus and scripts call: ``bpy.ops.scumble.*``."""

from __future__ import annotations

import bpy

from . import connection, controls, example, generate, live, loras, remedies, result

__all__ = ["register", "unregister"]

CLASSES = (
    *connection.CLASSES,
    *generate.CLASSES,
    *controls.CLASSES,
    *loras.CLASSES,
    *result.CLASSES,
    *live.CLASSES,
    *remedies.CLASSES,
    *example.CLASSES,
)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.VIEW3D_MT_add.append(example.draw_in_add_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_add.remove(example.draw_in_add_menu)
    _unregister_classes()
