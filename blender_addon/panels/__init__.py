"""The Sidebar tab. Drawing only arranges what other modules know."""

from __future__ import annotations

import bpy

from . import live, main

__all__ = ["register", "unregister"]

# Sub-panels stand in the order they are registered in, and need their parent first.
PARENT = main.CLASSES.index(main.SCUMBLE_PT_main) + 1
CLASSES = (*main.CLASSES[:PARENT], *live.CLASSES, *main.CLASSES[PARENT:])

register, unregister = bpy.utils.register_classes_factory(CLASSES)
