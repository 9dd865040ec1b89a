"""Strokes that Blender keeps to itself: with dynamic topology the mesh has them only once it is asked to."""

from __future__ import annotations

import bpy

__all__ = ["Strokes"]


class Strokes:
    """Hands the strokes of dynamic topology over to the mesh that is captured, each when it has ended.

    owed: a stroke wasn't handed over, as it was going on.
    """

    def __init__(self) -> None:
        self.owed = False
        self._handed_over = 0  # version of the scene

    @property
    def due(self) -> bool:
        """Whether what is owed can be handed over."""
        return self.owed and not _is_stroke_on()

    def hand_over(self, version: int) -> None:
        """Before a capture. version: of the scene, as :class:`.watch.Watch` counts."""
        self.owed = False
        if version == self._handed_over or not _is_wanted(bpy.context.view_layer.objects.active):
            return
        if _is_stroke_on():
            self.owed = True
            return
        self._handed_over = version
        bpy.ops.ed.flush_edits()  # as Blender does before it saves a file by itself, not within a stroke either


def _is_wanted(active: bpy.types.Object | None) -> bool:
    return active is not None and active.mode == "SCULPT" and active.use_dynamic_topology_sculpting


def _is_stroke_on() -> bool:
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname.startswith("SCULPT_") for window in windows for operator in window.modal_operators)
