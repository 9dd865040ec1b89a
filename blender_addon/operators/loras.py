"""The list of LoRAs."""

from __future__ import annotations

import bpy

from ..choices import fitting_lora_items, lora_info
from ..state import session

__all__ = ["CLASSES"]


class SCUMBLE_OT_lora_add(bpy.types.Operator):
    """Change the model with something it was taught besides"""

    bl_idname = "scumble.lora_add"
    bl_label = "Add LoRA"
    bl_options = {"REGISTER", "UNDO"}

    lora_id: bpy.props.EnumProperty(name="LoRA", items=fitting_lora_items)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        there = bool(fitting_lora_items(None, context))
        if not there:
            cls.poll_message_set("The server has no LoRA for this model")
        return there

    def execute(self, context: bpy.types.Context) -> set[str]:
        lora = context.scene.scumble.loras.add()
        lora.lora_id = self.lora_id
        info = lora_info(session().capabilities, self.lora_id)
        lora.weight = 1.0 if info is None else info.weight
        return {"FINISHED"}


class SCUMBLE_OT_lora_remove(bpy.types.Operator):
    """Remove this LoRA"""

    bl_idname = "scumble.lora_remove"
    bl_label = "Remove LoRA"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Index", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        loras = context.scene.scumble.loras
        if self.index >= len(loras):
            return {"CANCELLED"}
        loras.remove(self.index)
        return {"FINISHED"}


CLASSES = (SCUMBLE_OT_lora_add, SCUMBLE_OT_lora_remove)
