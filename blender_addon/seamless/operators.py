"""Seamless materials by a button."""

from __future__ import annotations

import bpy

from .. import actions
from ..jobs import JobRecord
from ..operators.base import WaitingOperator
from .request import seamless

__all__ = ["CLASSES"]


class SCUMBLE_OT_seamless_material(WaitingOperator, bpy.types.Operator):
    """Make a picture by the prompt that goes on where it began, and a material of it"""

    bl_idname = "scumble.seamless_material"
    bl_label = "Seamless Material"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.scumble.prompt.strip():
            cls.poll_message_set("Write a prompt first")
            return False
        return True

    def begin(self, context: bpy.types.Context) -> JobRecord:
        objects = context.selected_objects if context.scene.scumble_seamless.assign else ()
        return actions.submit(seamless(context, objects))


CLASSES = (SCUMBLE_OT_seamless_material,)
