"""The Sidebar tab. Drawing only arranges what other modules know."""

from __future__ import annotations

import bpy

from . import live, main

__all__ = ["register", "unregister"]

register, unregister = bpy.utils.register_classes_factory((*main.CLASSES, *live.CLASSES))
