"""What to do with a result."""

from __future__ import annotations

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.prompts import escaped, with_loras

from .. import actions
from ..apply import overlay, results
from ..jobs import JobRecord
from ..prepare import Picture
from .base import WaitingOperator, attempt

__all__ = ["CLASSES"]


def _has_result(cls: type[bpy.types.Operator]) -> bool:
    if actions.latest_generation() is None:
        cls.poll_message_set("Generate a picture first")
        return False
    return True


class SCUMBLE_OT_show_overlay(bpy.types.Operator):
    """Show the latest picture over the view it was made from, or hide it"""

    bl_idname = "scumble.show_overlay"
    bl_label = "Show as Overlay"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return overlay.is_shown() or _has_result(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        record = actions.latest_generation()
        if overlay.is_shown() or record is None or record.target.camera is None:
            overlay.clear()
        else:
            picture: Picture = next(iter(record.prepared.values()))
            overlay.show(record.id, record.target.camera, picture.pixels)
        for area in context.screen.areas if context.screen else ():
            area.tag_redraw()
        return {"FINISHED"}


class SCUMBLE_OT_keep_image(bpy.types.Operator):
    """Keep the latest pictures as images packed into the file, with the settings that made them"""

    bl_idname = "scumble.keep_image"
    bl_label = "Keep as Image"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _has_result(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        record = actions.latest_generation()
        kept = results.keep_pictures(record)
        self.report({"INFO"}, f"Kept {', '.join(image.name for image in kept)}")
        return {"FINISHED"}


class SCUMBLE_OT_texture_from_view(WaitingOperator, bpy.types.Operator):
    """Put the latest picture on to the selected objects' own UV maps, as seen from its view, in new materials"""

    bl_idname = "scumble.texture_from_view"
    bl_label = "Texture from View"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.selected_objects:
            cls.poll_message_set("Select the objects to texture")
            return False
        return _has_result(cls)

    def begin(self, context: bpy.types.Context) -> JobRecord:
        return actions.start_texture(context, context.selected_objects)


class SCUMBLE_OT_restore_settings(bpy.types.Operator):
    """Set prompt, seed and all the rest to what made the latest picture"""

    bl_idname = "scumble.restore_settings"
    bl_label = "Use Its Settings"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _has_result(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._restore(context))

    def _restore(self, context: bpy.types.Context) -> None:
        record = actions.latest_generation()
        if record is None:
            raise ScumbleError(ErrorCode.SCENE, "there is no picture yet")
        settings, job = context.scene.scumble, record.job
        settings.model_id = job.model
        settings.lock_seed = True
        settings.prompt = with_loras(escaped(job.prompt), job.loras)
        settings.loras.clear()
        settings.negative_prompt = escaped(job.negative_prompt)
        context.scene.scumble_prompting.styles = ""
        for name in ("batch_size", "sampler", "num_inference_steps", "guidance_scale", "seed"):
            setattr(settings, name, getattr(job, name))


CLASSES = (
    SCUMBLE_OT_show_overlay,
    SCUMBLE_OT_keep_image,
    SCUMBLE_OT_texture_from_view,
    SCUMBLE_OT_restore_settings,
)
