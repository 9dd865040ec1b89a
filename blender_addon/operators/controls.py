"""The list of controls."""

from __future__ import annotations

import bpy

from .. import actions
from ..jobs import JobRecord
from ..properties import CONTROL_ITEMS
from ..status import why_not_generate
from .base import WaitingOperator

__all__ = ["CLASSES"]


class SCUMBLE_OT_control_add(bpy.types.Operator):
    """Add something of the scene that the picture has to follow"""

    bl_idname = "scumble.control_add"
    bl_label = "Add Control"
    bl_options = {"REGISTER", "UNDO"}

    kind: bpy.props.EnumProperty(name="Kind", items=CONTROL_ITEMS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        settings.controls.add().kind = self.kind
        settings.use_default_controls = False
        return {"FINISHED"}


class SCUMBLE_OT_control_remove(bpy.types.Operator):
    """Remove this control"""

    bl_idname = "scumble.control_remove"
    bl_label = "Remove Control"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Index", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        if self.index >= len(settings.controls):
            return {"CANCELLED"}
        settings.controls.remove(self.index)
        settings.use_default_controls = False
        return {"FINISHED"}


class SCUMBLE_OT_control_images(WaitingOperator, bpy.types.Operator):
    """Show what the model is told: the image of each control, from the current view"""

    bl_idname = "scumble.control_images"
    bl_label = "Preview Controls"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not_generate(context.scene.scumble, context.scene.camera is not None, prompt_needed=False)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def begin(self, context: bpy.types.Context) -> JobRecord:
        return actions.start_control_images(context)


CLASSES = (SCUMBLE_OT_control_add, SCUMBLE_OT_control_remove, SCUMBLE_OT_control_images)
