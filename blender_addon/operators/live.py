"""Live mode on and off, and keeping what it paints."""

from __future__ import annotations

import bpy

from ..jobs import JobRecord
from ..live import control
from .base import WaitingOperator, attempt

__all__ = ["CLASSES"]


def _has_frame(cls: type[bpy.types.Operator]) -> bool:
    if control.latest() is None:
        cls.poll_message_set("Live hasn't painted anything yet")
        return False
    return True


class SCUMBLE_OT_live(bpy.types.Operator):
    """Paint what the viewport shows, again and again while it changes. Nothing in the file changes until it is kept"""

    bl_idname = "scumble.live"
    bl_label = "Live"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if control.is_on() or context.scene.scumble.source == "CAMERA":
            return True
        if context.screen is None or not any(area.type == "VIEW_3D" for area in context.screen.areas):
            cls.poll_message_set("Open a 3D viewport, or use the camera")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        if control.is_on():
            control.stop()
            return {"FINISHED"}
        return attempt(self, lambda: control.start(context))


class SCUMBLE_OT_live_keep(bpy.types.Operator):
    """Keep the newest live picture as an image packed into the file, with the settings that made it"""

    bl_idname = "scumble.live_keep"
    bl_label = "Keep as Image"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _has_frame(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self.report({"INFO"}, f"Kept {control.keep()[0].name}"))


class SCUMBLE_OT_live_texture(WaitingOperator, bpy.types.Operator):
    """Put the newest live picture on to the selected objects' own UV maps, as seen from its view, in new materials"""

    bl_idname = "scumble.live_texture"
    bl_label = "Keep as Texture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.selected_objects:
            cls.poll_message_set("Select the objects to texture")
            return False
        return _has_frame(cls)

    def begin(self, context: bpy.types.Context) -> JobRecord:
        return control.texture(list(context.selected_objects))


CLASSES = (SCUMBLE_OT_live, SCUMBLE_OT_live_keep, SCUMBLE_OT_live_texture)
