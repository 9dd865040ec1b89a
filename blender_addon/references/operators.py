"""The list of reference pictures: from files and from Blender's images."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy_extras.io_utils import ImportHelper

from ..state import session

__all__ = ["CLASSES"]


class SCUMBLE_OT_reference_open(bpy.types.Operator, ImportHelper):
    """Show the model picture files"""

    bl_idname = "scumble.reference_open"
    bl_label = "Open Pictures"
    bl_options = {"REGISTER", "UNDO"}

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        paths = [Path(self.directory) / file.name for file in self.files if file.name] or [Path(self.filepath)]
        done = False
        for path in paths:
            try:
                image = bpy.data.images.load(str(path), check_existing=True)
            except RuntimeError:  # missing, or no picture at all
                self.report({"ERROR"}, f"{path.name} can't be opened as a picture")
                continue
            context.scene.scumble_references.pictures.add().image = image
            done = True
        return {"FINISHED"} if done else {"CANCELLED"}


class SCUMBLE_OT_reference_add(bpy.types.Operator):
    """Show the model an image of this file; choose it in the list"""

    bl_idname = "scumble.reference_add"
    bl_label = "Add Picture"
    bl_options = {"REGISTER", "UNDO"}

    image_name: bpy.props.StringProperty(
        name="Image", description="Name of the image; empty to choose it afterwards", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        image = bpy.data.images.get(self.image_name)
        if self.image_name and image is None:
            self.report({"ERROR"}, f"There is no image {self.image_name}")
            return {"CANCELLED"}
        context.scene.scumble_references.pictures.add().image = image
        return {"FINISHED"}


class SCUMBLE_OT_reference_remove(bpy.types.Operator):
    """Remove this picture from the list; the image stays in the file"""

    bl_idname = "scumble.reference_remove"
    bl_label = "Remove Picture"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Index", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        pictures = context.scene.scumble_references.pictures
        if self.index >= len(pictures):
            return {"CANCELLED"}
        pictures.remove(self.index)
        return {"FINISHED"}


class SCUMBLE_OT_remove_job_reference(bpy.types.Operator):
    """Generate without the reference picture that can't be used"""

    bl_idname = "scumble.remove_job_reference"
    bl_label = "Remove Reference"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.StringProperty(name="Index", description="Of the reference in the job", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        pictures = context.scene.scumble_references.pictures
        used = [entry for entry in pictures if entry.enabled and entry.image is not None]
        index = int(self.index) if self.index.isdecimal() else 0
        if index < len(used):
            used[index].enabled = False
        session().report(None)
        return {"FINISHED"}


CLASSES = (
    SCUMBLE_OT_reference_open,
    SCUMBLE_OT_reference_add,
    SCUMBLE_OT_reference_remove,
    SCUMBLE_OT_remove_job_reference,
)
