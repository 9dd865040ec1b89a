"""A scene's settings as a picture's job had them: from a file, one dropped on the Sidebar, or an image in Blender."""

from __future__ import annotations

from pathlib import Path

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import CONTROL_KINDS, Control, GenerateJob
from scumble_shared.messages import Capabilities
from scumble_shared.metadata import CHUNK, read_settings, settings_in
from scumble_shared.prompts import escaped, with_loras

from ..operators.base import attempt
from ..references.request import take_references
from ..state import session
from ..words import set_names

__all__ = ["CLASSES", "take_job"]

NUMBERS = ("num_inference_steps", "guidance_scale", "seed")
SEED_LIMIT = 2**31


def take_job(scene: bpy.types.Scene, job: GenerateJob, capabilities: Capabilities) -> list[str]:
    """Set the scene to make what ``job`` made, from wherever the scene looks; what couldn't be taken over, in words.

    capabilities: empty while no server is connected; then the model is taken as it is.
    """
    settings, notes = scene.scumble, []
    settings.prompt = with_loras(escaped(job.prompt), job.loras)
    settings.loras.clear()
    settings.negative_prompt = escaped(job.negative_prompt)
    set_names(scene, ())
    models = {model.id for model in capabilities.models}
    if not models or job.model in models:
        settings.model_id = job.model
    else:
        notes.append(f"this server has no model {job.model}; {settings.model_id} stays")
    for name in NUMBERS:
        setattr(settings, name, min(getattr(job, name), SEED_LIMIT - 1) if name == "seed" else getattr(job, name))
    if job.seed >= SEED_LIMIT:
        notes.append(f"the seed {job.seed} is larger than Blender's numbers")
    settings.sampler = job.sampler
    settings.width, settings.height = job.width, job.height
    settings.batch_size, settings.lock_seed = 1, True
    _take_controls(settings, job.controls, notes)
    if not take_references(scene, job.references):
        notes.append("it went by reference pictures which aren't in the list")
    if job.init_image is not None:
        notes.append("it began with another picture, which isn't in it")
    if job.regions:
        notes.append("parts of it had prompts of their own; give them to objects")
    return notes


def _take_controls(settings: bpy.types.PropertyGroup, controls: tuple[Control, ...], notes: list[str]) -> None:
    settings.controls.clear()
    settings.use_default_controls = False
    for control in controls:
        if control.kind not in CONTROL_KINDS:
            notes.append(f"a control of kind {control.kind} can't be made from the scene")
            continue
        if control.image is not None:
            notes.append(f"the image of the {control.kind} control isn't in it; the scene is taken instead")
        item = settings.controls.add()
        item.kind, item.model = control.kind, control.model
        item.strength, item.start, item.end = control.strength, control.start, control.end
        item.use_range = control.near is not None and control.far is not None
        if item.use_range:
            item.near, item.far = control.near, control.far


class SCUMBLE_OT_settings_from_image(bpy.types.Operator):
    """Take prompt, model, size, steps, seed and controls from a picture made by Scumble, AUTOMATIC1111 or ComfyUI"""

    bl_idname = "scumble.settings_from_image"
    bl_label = "Settings from Image"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(name="Picture", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.png", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._take(context))

    def _take(self, context: bpy.types.Context) -> None:
        found = read_settings(Path(bpy.path.abspath(self.filepath)))
        _tell(self, take_job(context.scene, found.single(), session().capabilities), found.notes)


class SCUMBLE_OT_settings_from_datablock(bpy.types.Operator):
    """Take prompt, model, size, steps, seed and controls from an image of this file that Scumble made"""

    bl_idname = "scumble.settings_from_datablock"
    bl_label = "Settings from This Image"
    bl_options = {"REGISTER", "UNDO"}

    image: bpy.props.StringProperty(name="Image", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._take(context))

    def _take(self, context: bpy.types.Context) -> None:
        image = bpy.data.images.get(self.image)
        record = image.get(CHUNK) if image is not None else None
        if not isinstance(record, str):
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"{self.image} wasn't made by Scumble", field="image")
        found = settings_in({CHUNK: record}, self.image)
        _tell(self, take_job(context.scene, found.single(), session().capabilities), found.notes)


class SCUMBLE_FH_picture(bpy.types.FileHandler):
    """A picture dropped on the Sidebar of a 3D viewport; anywhere else it is what Blender makes of it."""

    bl_idname = "SCUMBLE_FH_picture"
    bl_label = "Settings from Image"
    bl_import_operator = SCUMBLE_OT_settings_from_image.bl_idname
    bl_file_extensions = ".png"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        area, region = context.area, context.region
        return area is not None and area.type == "VIEW_3D" and region is not None and region.type == "UI"


def _tell(operator: bpy.types.Operator, *notes: object) -> None:
    told = [str(note) for some in notes for note in some]
    if told:
        operator.report({"WARNING"}, "; ".join(told))


CLASSES = (SCUMBLE_OT_settings_from_image, SCUMBLE_OT_settings_from_datablock, SCUMBLE_FH_picture)
