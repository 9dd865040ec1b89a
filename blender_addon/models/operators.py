"""The model manager's buttons: ``bpy.ops.scumble.model_*``. Each starts a job that the panel shows until it ends."""

from __future__ import annotations

from pathlib import Path

import bpy
from scumble_shared.job import LibraryJob

from .. import actions
from ..jobs import JobState
from ..operators.base import attempt
from . import verbs
from .shelf import size_text
from .verbs import SHELF

__all__ = ["CLASSES"]


class Errand:
    """Starts what :meth:`job` makes; with ``wait`` it returns when that is done, as background Blender needs."""

    online = False

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when it is done, for scripts", default=False, options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = verbs.why_not_online() if cls.online else verbs.why_not()
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def job(self, context: bpy.types.Context) -> LibraryJob:
        raise AssertionError("each button says what it wants")

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._work(self.job(context)))

    def _work(self, job: LibraryJob) -> None:
        record = verbs.start(job)
        if self.wait and actions.wait(record.id).state is JobState.CANCELLED:
            self.report({"WARNING"}, "Cancelled")


class SCUMBLE_OT_models_list(Errand, bpy.types.Operator):
    """Look through the server's folders again; asks nobody else"""

    bl_idname = "scumble.models_list"
    bl_label = "Look for Models"

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("list")


class SCUMBLE_OT_models_search(Errand, bpy.types.Operator):
    """Ask the model hub for repositories of this name, over the network"""

    bl_idname = "scumble.models_search"
    bl_label = "Search the Hub"

    online = True
    words: bpy.props.StringProperty(name="Words", options={"SKIP_SAVE"})

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("search", (self.words or context.window_manager.scumble_models.words).strip())


class SCUMBLE_OT_model_get(Errand, bpy.types.Operator):
    """Download it, over the network, into the server's library"""

    bl_idname = "scumble.model_get"
    bl_label = "Download"

    online = True
    target: bpy.props.StringProperty(
        name="What", description="Id or starter set of the catalogue, OWNER/NAME, or an address", options={"SKIP_SAVE"}
    )
    file: bpy.props.StringProperty(
        name="File", description="Of a repository with several models: this one alone", options={"SKIP_SAVE"}
    )
    revision: bpy.props.StringProperty(
        name="Revision", description="Commit or branch of a repository", default="main", options={"SKIP_SAVE"}
    )
    sha256: bpy.props.StringProperty(
        name="SHA-256", description="Of an address: the checksum its publisher names", options={"SKIP_SAVE"}
    )
    model_id: bpy.props.StringProperty(name="Name", description="What to call it", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.target = self.target or context.window_manager.scumble_models.target.strip()
        return context.window_manager.invoke_props_dialog(self, width=420, confirm_text="Download")

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for line in _about(self.target):
            layout.label(text=line, translate=False)
        layout.use_property_split = True
        layout.use_property_decorate = False
        if "://" in self.target:
            layout.prop(self, "model_id")
            layout.prop(self, "sha256")
        elif "/" in self.target:
            layout.prop(self, "model_id")
            layout.prop(self, "file")
            layout.prop(self, "revision")

    def job(self, context: bpy.types.Context) -> LibraryJob:
        files = (self.file.strip(),) if self.file.strip() else ()
        return LibraryJob(
            "get",
            (self.target or context.window_manager.scumble_models.target).strip(),
            files=files,
            revision=self.revision.strip() or "main",
            sha256=self.sha256.strip(),
            model_id=self.model_id.strip(),
        )


class SCUMBLE_OT_model_drop(Errand, bpy.types.Operator):
    """Delete what has arrived of a download that was broken off"""

    bl_idname = "scumble.model_drop"
    bl_label = "Drop Download"

    model_id: bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("drop", self.model_id)


class SCUMBLE_OT_model_verify(Errand, bpy.types.Operator):
    """Read its files again and compare them with their checksums"""

    bl_idname = "scumble.model_verify"
    bl_label = "Verify"

    model_id: bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("verify", self.model_id)


class SCUMBLE_OT_model_delete(Errand, bpy.types.Operator):
    """Delete it from the server's disk, for good"""

    bl_idname = "scumble.model_delete"
    bl_label = "Delete Model"

    model_id: bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("delete", self.model_id, confirmed=True)


class SCUMBLE_OT_model_import(Errand, bpy.types.Operator):
    """Take a .safetensors file on this machine into the library"""

    bl_idname = "scumble.model_import"
    bl_label = "Import Model"

    filepath: bpy.props.StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.safetensors", options={"HIDDEN"})
    link: bpy.props.BoolProperty(
        name="Read It Where It Is", description="Don't copy it; the file has to stay", default=False
    )
    licence: bpy.props.StringProperty(name="Licence", description="To note with it")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def job(self, context: bpy.types.Context) -> LibraryJob:
        path = _absolute(self.filepath)
        return LibraryJob("import", path, link=self.link, licence=self.licence.strip())


class SCUMBLE_OT_model_folder_add(Errand, bpy.types.Operator):
    """Read the models in a folder where they are, such as that of ComfyUI or AUTOMATIC1111; nothing there is changed"""

    bl_idname = "scumble.model_folder_add"
    bl_label = "Add Folder"

    directory: bpy.props.StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("add_folder", _absolute(self.directory))


class SCUMBLE_OT_model_folder_remove(Errand, bpy.types.Operator):
    """Don't read this folder any longer; nothing in it is deleted"""

    bl_idname = "scumble.model_folder_remove"
    bl_label = "Remove Folder"

    directory: bpy.props.StringProperty(name="Folder", options={"SKIP_SAVE"})

    def job(self, context: bpy.types.Context) -> LibraryJob:
        return LibraryJob("remove_folder", self.directory)


class SCUMBLE_OT_model_use(bpy.types.Operator):
    """Paint with this model, in this scene"""

    bl_idname = "scumble.model_use"
    bl_label = "Use Model"
    bl_options = {"REGISTER", "UNDO"}

    model_id: bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        return bpy.ops.scumble.choose_model(model_id=self.model_id)


def _absolute(path: str) -> str:
    """Blender's own ``//`` paths made whole."""
    return str(Path(bpy.path.abspath(path))) if path else ""


def _about(target: str) -> list[str]:
    """What is known before anything is asked."""
    listing = SHELF.listing
    if listing is None:
        return [target]
    chosen = next((item for item in listing.sets if item.id == target), None)
    if chosen is not None:
        return [f"{', '.join(chosen.models)}: {size_text(chosen.size)}", f"from {listing.hub}"]
    model = next((model for model in listing.catalogue if model.id == target), None)
    if model is not None:
        return [f"{model.name}: {size_text(model.size)}", f"Licence: {model.licence}", f"{listing.hub}/{model.repo}"]
    return [target, f"{size_text(listing.free)} are free in {listing.library}"]


CLASSES = (
    SCUMBLE_OT_models_list,
    SCUMBLE_OT_models_search,
    SCUMBLE_OT_model_get,
    SCUMBLE_OT_model_drop,
    SCUMBLE_OT_model_verify,
    SCUMBLE_OT_model_delete,
    SCUMBLE_OT_model_import,
    SCUMBLE_OT_model_folder_add,
    SCUMBLE_OT_model_folder_remove,
    SCUMBLE_OT_model_use,
)
