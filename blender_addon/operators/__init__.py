"""What buttons, menus and scripts call: ``bpy.ops.scumble.*``."""

from __future__ import annotations

import bpy

from . import connection, controls, generate, remedies, result

__all__ = ["register", "unregister"]

CLASSES = (*connection.CLASSES, *generate.CLASSES, *controls.CLASSES, *result.CLASSES, *remedies.CLASSES)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
