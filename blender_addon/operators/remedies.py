"""What an error offers as a button."""

from __future__ import annotations

import re

import bpy
from scumble_shared.errors import RemedyAction
from scumble_shared.prompts import take_loras, with_loras

from .. import runtime
from ..choices import model_items
from ..identity import OWN_UV_MAP
from ..jobs import JobState
from ..state import session
from .base import attempt

__all__ = ["CLASSES", "REMEDY_OPERATORS"]

MOST_UV_MAPS = 8
"""Of a mesh in Blender."""


class SCUMBLE_OT_start_server(bpy.types.Operator):
    """Start the server, or connect to it again"""

    bl_idname = "scumble.start_server"
    bl_label = "Start Server"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, runtime.connect)


class SCUMBLE_OT_retry(bpy.types.Operator):
    """Do again what failed"""

    bl_idname = "scumble.retry"
    bl_label = "Try Again"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, self._retry)

    def _retry(self) -> None:
        current = session()
        failed = current.jobs.latest(JobState.FAILED)
        runtime.ensure_connection()
        if failed is not None:
            current.submit(failed.job, failed.tensors, failed.target)


class SCUMBLE_OT_choose_model(bpy.types.Operator):
    """Use a model that works"""

    bl_idname = "scumble.choose_model"
    bl_label = "Choose Model"
    bl_options = {"REGISTER", "UNDO"}

    model_id: bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        offered = [item[0] for item in model_items(settings, context)]
        chosen = self.model_id or next((model for model in offered if model != settings.model_id), "")
        if chosen not in offered:
            self.report({"ERROR"}, f"The server has no model {chosen}" if chosen else "The server has no other model")
            return {"CANCELLED"}
        settings.model = chosen
        session().report(None)
        return {"FINISHED"}


class SCUMBLE_OT_remove_job_control(bpy.types.Operator):
    """Generate without the control that can't be used"""

    bl_idname = "scumble.remove_job_control"
    bl_label = "Remove Control"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.StringProperty(name="Index", description="Of the control in the job", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        used = [number for number, control in enumerate(settings.controls) if control.enabled]
        index = int(self.index) if self.index.isdecimal() else 0
        if index < len(used):
            settings.controls[used[index]].enabled = False
        settings.use_default_controls = False
        session().report(None)
        return {"FINISHED"}


class SCUMBLE_OT_remove_lora(bpy.types.Operator):
    """Generate without the LoRA that can't be used"""

    bl_idname = "scumble.remove_lora"
    bl_label = "Remove LoRA"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.StringProperty(name="Index", description="Of the LoRA in the job", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        used = [lora for lora in settings.loras if lora.enabled and lora.lora_id]
        index = int(self.index) if self.index.isdecimal() else 0
        if index < len(used):
            used[index].enabled = False
        else:  # those that the prompt names come after those of the list
            plain, tags = take_loras(settings.prompt)
            left = [tag.lora for number, tag in enumerate(tags) if number != index - len(used)]
            settings.prompt = with_loras(plain, left)
        session().report(None)
        return {"FINISHED"}


class SCUMBLE_OT_reduce_size(bpy.types.Operator):
    """Use a size that fits"""

    bl_idname = "scumble.reduce_size"
    bl_label = "Reduce Size"
    bl_options = {"REGISTER", "UNDO"}

    size: bpy.props.StringProperty(name="Size", description="Such as 512x384; empty halves it", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.scumble
        found = re.fullmatch(r"(\d+)x(\d+)", self.size)
        width, height = map(int, found.groups()) if found else (settings.width // 2, settings.height // 2)
        settings.width, settings.height = width, height
        session().report(None)
        return {"FINISHED"}


class SCUMBLE_OT_add_uv_map(bpy.types.Operator):
    """Give the object a new UV map, unwrapped by angle; maps it has stay as they are"""

    bl_idname = "scumble.add_uv_map"
    bl_label = "Add a UV Map"
    bl_options = {"REGISTER", "UNDO"}

    object_name: bpy.props.StringProperty(name="Object", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = bpy.data.objects.get(self.object_name)
        if thing is None or thing.type != "MESH" or not thing.data.is_editable:
            self.report(
                {"ERROR"}, f"{self.object_name or 'The object'} isn't a mesh that can be changed; convert it to one"
            )
            return {"CANCELLED"}
        if len(thing.data.uv_layers) >= MOST_UV_MAPS:
            self.report({"ERROR"}, f"{thing.name} has {MOST_UV_MAPS} UV maps, as many as there can be; remove one")
            return {"CANCELLED"}
        add_uv_map(context, thing)
        session().report(None)
        return {"FINISHED"}


def add_uv_map(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """Selection, mode and active object are afterwards what they were; so are which map is edited and rendered."""
    if context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    layer_objects = context.view_layer.objects
    active = layer_objects.active
    selected = [other for other in layer_objects if other.select_get()]
    for other in selected:
        other.select_set(False)
    layers = thing.data.uv_layers
    edited = layers.active_index
    layers.active = layers.new(name=OWN_UV_MAP if layers else "UVMap", do_init=False)
    layer_objects.active = thing
    thing.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=0.01)
    bpy.ops.object.mode_set(mode="OBJECT")
    thing.data.uv_layers.active_index = max(edited, 0)
    thing.select_set(False)
    for other in selected:
        other.select_set(True)
    layer_objects.active = active


class SCUMBLE_OT_dismiss_error(bpy.types.Operator):
    """Hide this message"""

    bl_idname = "scumble.dismiss_error"
    bl_label = "Dismiss"

    def execute(self, context: bpy.types.Context) -> set[str]:
        session().report(None)
        return {"FINISHED"}


REMEDY_OPERATORS: dict[RemedyAction, tuple[str, str]] = {
    RemedyAction.RETRY: ("scumble.retry", ""),
    RemedyAction.START_SERVER: ("scumble.start_server", ""),
    RemedyAction.OPEN_PREFERENCES: ("scumble.open_preferences", ""),
    RemedyAction.UPDATE_ADDON: ("scumble.open_extensions", ""),
    RemedyAction.CHOOSE_MODEL: ("scumble.choose_model", "model_id"),
    RemedyAction.REMOVE_CONTROL: ("scumble.remove_job_control", "index"),
    RemedyAction.REMOVE_LORA: ("scumble.remove_lora", "index"),
    RemedyAction.REMOVE_REFERENCE: ("scumble.remove_job_reference", "index"),
    RemedyAction.REDUCE_SIZE: ("scumble.reduce_size", "size"),
    RemedyAction.ADD_UV_MAP: ("scumble.add_uv_map", "object_name"),
}
"""Action -> operator, and the property that takes the remedy's argument. Updating a server is done where it runs."""

CLASSES = (
    SCUMBLE_OT_start_server,
    SCUMBLE_OT_retry,
    SCUMBLE_OT_choose_model,
    SCUMBLE_OT_remove_job_control,
    SCUMBLE_OT_remove_lora,
    SCUMBLE_OT_reduce_size,
    SCUMBLE_OT_add_uv_map,
    SCUMBLE_OT_dismiss_error,
)
