"""What is done with a result when it arrives. The scene is looked up again: it may be gone by then."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
from scumble_shared.errors import ScumbleError
from scumble_shared.job import ControlImagesJob, GenerateJob, ProjectJob

from ..jobs import JobRecord
from ..preferences import preferences
from ..prepare import Picture
from ..state import session
from . import icons, overlay
from .images import MAP_NAMES, keep_image, keep_maps, keep_texture, update_image
from .materials import apply_texture

__all__ = ["apply_result", "gatherers", "keep_pictures", "preview_watchers", "show_preview", "takers", "undo_step"]

preview_watchers: dict[str, Callable[[JobRecord, object], None]] = {}
"""Scripts that want a job's previews, by its id; called on the main thread with float32 h x w x 4, bottom row first."""

gatherers: dict[str, Callable[[JobRecord], None]] = {}
"""What takes the result of one job, by its id, instead of the scene."""

takers: dict[type, Callable[[JobRecord], None]] = {}
"""What takes the results of jobs that belong to no scene, by the job's class."""

appliers: dict[type, Callable[[JobRecord], None]] = {}
"""What applies the results of other kinds of jobs, by the class of the job or of what its target is about; each makes
its own undo step."""

preview_showers: dict[type, Callable[[JobRecord, object], None]] = {}
"""What shows the previews of other kinds of jobs."""

NAME_LENGTH = 40
"""Characters of the prompt in an image's name; Blender allows 63 in all."""


def apply_result(record: JobRecord) -> None:
    """One undo step, and none if the scene the job was made for is gone: then the pictures wait to be kept."""
    preview_watchers.pop(record.id, None)
    if record.target.live:
        return
    if gather := gatherers.pop(record.id, None):
        gather(record)
        return
    if take := takers.get(type(record.job)):
        take(record)
        return
    scene = _scene(record.target.scene_uid)
    if scene is None:
        session().jobs.annotate(record.id, "The scene it was made for is gone; Keep as Image keeps it")
        return
    if apply := appliers.get(type(record.target.about)):
        apply(record)
        return
    match record.job:
        case GenerateJob():
            _apply_pictures(record, scene)
        case ProjectJob():
            _apply_textures(record)
        case ControlImagesJob():
            for index, picture in enumerate(record.prepared.values()):
                icons.set_control_icon(record.target.scene_uid, index, picture.icon)
        case _ if apply := appliers.get(type(record.job)):
            apply(record)


def show_preview(record: JobRecord, pixels: object) -> None:
    """A picture forming, over the view it is made from."""
    if watcher := preview_watchers.get(record.id):
        watcher(record, pixels)
    if shower := preview_showers.get(type(record.job)):
        shower(record, pixels)
    target = record.target
    wanted = "OVERLAY" in target.actions and preferences().show_previews
    if wanted and isinstance(pixels, np.ndarray) and target.camera is not None:
        overlay.show_pixels(record.id, target.camera, pixels)


def keep_pictures(record: JobRecord) -> list[bpy.types.Image]:
    """New images of all pictures of a finished generation."""
    words = " ".join(record.job.prompt.split())[:NAME_LENGTH] or "Scumble"
    return [keep_image(picture, _image_name(words, name)) for name, picture in record.prepared.items()]


def _image_name(words: str, name: str) -> str:
    kind = MAP_NAMES.get(name.split("/", 1)[0])
    return words if kind is None else f"{words} {kind}"


def undo_step(message: str) -> None:
    """Closes what was just done to Blender's data into one undo step."""
    bpy.ops.ed.undo_push(message=message)


def _apply_pictures(record: JobRecord, scene: bpy.types.Scene) -> None:
    actions, target = record.target.actions, record.target
    first: Picture = next(iter(record.prepared.values()))
    if "OVERLAY" in actions and target.camera is not None:
        overlay.show(record.id, target.camera, first.pixels)
    if "IMAGE" in actions:
        keep_pictures(record)
    if "RENDER" in actions and target.from_camera:
        update_image(first, scene)
    if "IMAGE" in actions or ("RENDER" in actions and target.from_camera):
        undo_step("Scumble: Generate")


def _apply_textures(record: JobRecord) -> None:
    lost = []
    done = 0
    for mesh in record.target.meshes:
        thing = next((thing for thing in bpy.data.objects if thing.session_uid == mesh.session_uid), None)
        if thing is None:
            lost.append(f"{mesh.name} is gone")
            continue
        try:
            ref = next(ref for ref in record.job.meshes if ref.name == mesh.name)
            maps = keep_maps(record.prepared, ref, record.provenance)
            apply_texture(thing, keep_texture(record.prepared, ref), mesh.uv_map, mesh.complete, maps)
            done += 1
        except ScumbleError as error:
            lost.append(str(error))
    if done:
        undo_step("Scumble: Texture from View")
    if lost:
        session().jobs.annotate(record.id, "; ".join(lost))


def _scene(session_uid: int) -> bpy.types.Scene | None:
    return next((scene for scene in bpy.data.scenes if scene.session_uid == session_uid), None)
