"""From a scene and its settings to a job: capture, settings, and who gets the result."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import (
    BUILT_IN_ESTIMATOR,
    MAPS,
    Control,
    ControlImagesJob,
    GenerateJob,
    Lora,
    MeshRef,
    ProjectJob,
    View,
    texture_names,
)
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from . import capture
from .apply.base import base_texture
from .apply.base_maps import with_base_maps
from .apply.keep import keep_mask
from .apply.materials import editable_object
from .capture.frame import BUFFERS, GEOMETRY
from .capture.tiles import udim_tiles
from .choices import control_kinds_of
from .connection.addressing import stand_in
from .control_list import controls_of, needs_color, needs_poses
from .identity import OWN_UV_MAP
from .jobs import JobRecord, MeshTarget, SeenObject, Target
from .posing.reading import poses_of
from .prepare import Picture
from .properties import SCUMBLE_PG_settings
from .references.request import references_of
from .regions.reading import labels_of_frame, regions_of_frame, wants_kinds
from .words import in_style, with_final_words, written

__all__ = [
    "SEED_LIMIT",
    "Request",
    "camera_size",
    "control_images",
    "generation",
    "keep_of",
    "loras_of",
    "maps_of",
    "texture",
    "viewport",
]

MATRIX_TOLERANCE = 1e-5
SEED_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class Request:
    """tensors: all the job names that this side has, by stand-in or content address."""

    job: GenerateJob | ControlImagesJob | ProjectJob
    tensors: Mapping[Digest, AnyArray]
    target: Target


def generation(
    context: bpy.types.Context,
    capabilities: Capabilities,
    *,
    as_written: bool = False,
    fresh: bool = True,
    precise: bool = True,
    **overrides: Any,
) -> Request:
    """What the scene's settings ask for, from what is to be seen now. overrides: fields of GenerateJob, ``source``
    ("VIEWPORT" or "CAMERA") and ``result_actions``. as_written: leave the choices in the prompt as they are.
    fresh: read reference pictures anew even if they seem to be the same. precise: of what is captured.

    Raises ScumbleError SCENE when there is nothing to capture.
    """
    scene = context.scene
    settings: SCUMBLE_PG_settings = scene.scumble
    source = overrides.pop("source", settings.source)
    actions = frozenset(overrides.pop("result_actions", settings.result_actions))
    if "seed" not in overrides and not settings.lock_seed:
        settings.seed = secrets.randbelow(SEED_LIMIT)
    words = written(scene)
    wanted = {"width": settings.width, "height": settings.height, **overrides}
    model = overrides.get("model", settings.model_id)
    tensors: dict[Digest, AnyArray] = {}
    controls = overrides.pop("controls", None)
    if controls is None:
        controls = controls_of(settings, control_kinds_of(capabilities, model), tensors, fresh=fresh)
    frame, view = _capture(context, source, wanted["width"], wanted["height"], controls, tensors, precise=precise)
    regions, note = ((), "") if "regions" in overrides else regions_of_frame(scene, frame)
    job = GenerateJob(
        prompt=words.prompt,
        negative_prompt=words.negative_prompt,
        model=model,
        batch_size=settings.batch_size,
        sampler=settings.sampler,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
        quality=settings.quality,
        memory=settings.memory,
        controls=controls,
        view=view,
        loras=loras_of(settings),
        references=() if "references" in overrides else references_of(scene, tensors, fresh=fresh),
        regions=in_style(scene, regions),
    )
    job = replace(job, **{**overrides, "width": view.camera.width, "height": view.camera.height})
    target = replace(_target(scene, source, actions, frame), note=note)
    return Request(job if as_written else with_final_words(job), tensors, target)


def control_images(context: bpy.types.Context, capabilities: Capabilities, **overrides: Any) -> Request:
    """The control images of the scene's controls, from what is to be seen now."""
    settings: SCUMBLE_PG_settings = context.scene.scumble
    source = overrides.get("source", settings.source)
    tensors: dict[Digest, AnyArray] = {}
    controls = controls_of(settings, control_kinds_of(capabilities, settings.model_id), tensors)
    if not controls:
        raise ScumbleError(ErrorCode.SCENE, "there is no control to look at; add one", field="controls")
    frame, view = _capture(context, source, settings.width, settings.height, controls, tensors)
    job = ControlImagesJob(controls, view, view.camera.width, view.camera.height, settings.model_id)
    return Request(job, tensors, _target(context.scene, source, frozenset(), frame))


def texture(
    context: bpy.types.Context, generated: JobRecord, objects: Sequence[bpy.types.Object], image: int = 0
) -> Request:
    """Picture ``image`` of a finished generation, on to the objects' own UV maps.

    Raises ScumbleError SCENE for objects that weren't seen, have moved since, or have no UV map.
    """
    view = generated.job.view
    if view is None or generated.target.scene_uid != context.scene.session_uid:
        raise ScumbleError(ErrorCode.SCENE, "that picture was made from another scene; generate again", field="image")
    name = f"image/{image}"
    picture: Picture = generated.prepared[name]
    settings: SCUMBLE_PG_settings = context.scene.scumble
    for thing in objects:
        editable_object(thing)
        thing.data.update_tag()  # a script that removes a UV map doesn't, and Blender evaluates the old mesh
    arrays = capture.meshes(context.evaluated_depsgraph_get(), objects, preferred=OWN_UV_MAP)
    tensors = dict(generated.tensors)
    digest = generated.digests.get(name) or stand_in(picture.pixels)
    tensors[digest] = picture.pixels
    refs = tuple(_mesh_ref(mesh, generated.target.objects, tensors) for mesh in arrays)
    base = _bases(objects, arrays, refs, settings.texture_size, tensors)
    job = ProjectJob(
        digest,
        view,
        refs,
        base,
        settings.texture_size,
        settings.angle_exponent,
        keep_of(settings.keep_mask, refs, base, settings.texture_size, tensors),
        int(settings.bit_depth),
        prompt=generated.job.prompt,
        **maps_of(settings),
    )
    job = with_base_maps(job, objects, [mesh.uv_map for mesh in arrays], tensors)
    meshes = tuple(MeshTarget(mesh.name, mesh.session_uid, mesh.uv_map, bool(base)) for mesh in arrays)
    return Request(job, tensors, replace(generated.target, meshes=meshes, actions=frozenset()))


def keep_of(
    image: bpy.types.Image | None,
    refs: Sequence[MeshRef],
    base: Sequence[Digest],
    size: int,
    tensors: dict[Digest, AnyArray],
) -> tuple[Digest, ...]:
    """The mask of what is to stay, per texture; nothing without an image.

    Raises ScumbleError SCENE where several textures would share it, or nobody can tell what there is to keep.
    """
    if image is None:
        return ()
    if len(texture_names(refs)) != 1:
        raise ScumbleError(
            ErrorCode.SCENE, "what to keep is said of one UV map; select one object, or clear Keep", field="keep"
        )
    if not base:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"what {refs[0].name} looks like can't be kept: that takes one plain colour, or one picture of "
            f"{size} x {size} pixels on the map that is painted. Bake it first, or clear Keep",
            field="keep",
        )
    return (_stored(tensors, keep_mask(image, size)),)


def camera_size(render: bpy.types.RenderSettings, width: int, height: int) -> tuple[int, int]:
    """The render's aspect (its border's, if it is cropped to it) at the larger of the two sides, in pixels."""
    across = render.resolution_x * render.pixel_aspect_x
    up = render.resolution_y * render.pixel_aspect_y
    if render.use_border and render.use_crop_to_border:
        across *= render.border_max_x - render.border_min_x
        up *= render.border_max_y - render.border_min_y
    scale = max(width, height) / max(across, up)
    return max(1, round(across * scale)), max(1, round(up * scale))


def _capture(
    context: bpy.types.Context,
    source: str,
    width: int,
    height: int,
    controls: Sequence[Control],
    tensors: dict[Digest, AnyArray],
    *,
    precise: bool = True,
) -> tuple[capture.CapturedFrame, View]:
    """What is to be seen, with what ``controls`` need of it; buffers go to ``tensors``."""
    buffers = BUFFERS if needs_color(controls) else GEOMETRY
    if source == "CAMERA":
        size = camera_size(context.scene.render, width, height)
        frame = capture.capture_camera(context.scene, context.view_layer, None, *size, buffers, precise=precise)
    else:
        frame = capture.capture_view3d(viewport(context), width, height, buffers, context=context, precise=precise)
    view = View(
        frame.camera,
        depth=_stored(tensors, frame.depth),
        normal=_stored(tensors, frame.normal),
        object_id=_stored(tensors, frame.object_id),
        color=None if frame.color is None else _stored(tensors, frame.color),
        poses=poses_of(context.evaluated_depsgraph_get()) if needs_poses(controls) else (),
        labels=labels_of_frame(frame) if wants_kinds(controls) else (),
    )
    return frame, view


def viewport(context: bpy.types.Context) -> bpy.types.Area:
    """The viewport the artist is in, or else the largest of the window. Raises ScumbleError SCENE without one."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return context.area
    areas = [area for area in context.screen.areas if area.type == "VIEW_3D"] if context.screen else []
    if not areas:
        raise ScumbleError(ErrorCode.SCENE, "no 3D viewport is open; open one, or use the camera", field="source")
    return max(areas, key=lambda area: area.width * area.height)


def _target(scene: bpy.types.Scene, source: str, actions: frozenset[str], frame: capture.CapturedFrame) -> Target:
    seen = tuple(SeenObject(entry.id, entry.name, entry.session_uid, entry.matrix_world) for entry in frame.objects)
    return Target(scene.session_uid, frame.camera, source == "CAMERA", actions, (), seen)


def loras_of(settings: SCUMBLE_PG_settings) -> tuple[Lora, ...]:
    """The scene's list of LoRAs as a job has them; the prompt may name more."""
    return tuple(Lora(lora.lora_id, lora.weight) for lora in settings.loras if lora.enabled and lora.lora_id)


def maps_of(settings: SCUMBLE_PG_settings) -> dict[str, Any]:
    """The scene's maps as fields of a job."""
    return {
        "maps": tuple(kind for kind in MAPS if kind in settings.maps),
        "map_estimator": settings.map_estimator_id or BUILT_IN_ESTIMATOR,
    }


def _mesh_ref(mesh: capture.MeshArrays, seen: Iterable[SeenObject], tensors: dict[Digest, AnyArray]) -> MeshRef:
    if mesh.uvs is None:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"{mesh.name} has no UV map to paint on",
            field="objects",
            remedy=Remedy("Add a UV Map", RemedyAction.ADD_UV_MAP, mesh.name),
        )
    entry = next((entry for entry in seen if entry.session_uid == mesh.session_uid), None)
    if entry is None:
        raise ScumbleError(ErrorCode.SCENE, f"{mesh.name} isn't in that picture; generate again", field="objects")
    if not np.allclose(entry.matrix_world, mesh.matrix_world, atol=MATRIX_TOLERANCE):
        raise ScumbleError(ErrorCode.SCENE, f"{mesh.name} has moved since; generate again", field="objects")
    return MeshRef(
        name=mesh.name,
        object_id=entry.id,
        matrix_world=mesh.matrix_world,
        vertices=_stored(tensors, mesh.vertices),
        triangles=_stored(tensors, mesh.triangles),
        normals=_stored(tensors, mesh.normals),
        uvs=_stored(tensors, mesh.uvs),
        tiles=udim_tiles(mesh.uvs),
    )


def _bases(
    objects: Sequence[bpy.types.Object],
    arrays: Sequence[capture.MeshArrays],
    refs: Sequence[MeshRef],
    size: int,
    tensors: dict[Digest, AnyArray],
) -> tuple[Digest, ...]:
    """What the objects look like now, per texture; of all or of none, as a job has it."""
    found = [base_texture(thing, mesh.uv_map, size) for thing, mesh in zip(objects, arrays, strict=True)]
    known = [base for base in found if base is not None]
    if len(known) < len(found):
        return ()
    names = [_stored(tensors, base) for base in known]
    return tuple(name for name, ref in zip(names, refs, strict=True) for _ in texture_names([ref]))


def _stored(tensors: dict[Digest, AnyArray], array: AnyArray) -> Digest:
    name = stand_in(array)
    tensors[name] = array
    return name
