"""What of Blender's data is to be textured, and from where. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS

from .. import capture
from ..apply.materials import editable_object
from ..capture.cameras import framing_of_scene_camera, viewport_camera
from ..capture.frame import scene_error
from ..identity import OWN_UV_MAP
from ..request import viewport
from .planning import CURRENT, GivenView, Wish
from .properties import VIEWS, SCUMBLE_PG_around

__all__ = ["chosen_views", "surfaces", "surfaces_among", "wish_of"]

KINDS = frozenset(item[0] for item in VIEWS)

MAKE_REAL = "Object > Apply > Make Instances Real makes it one of its own"


def surfaces_among(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """Those that have a surface, each once. Cameras, lights and the like in a selection are left out.

    Raises ScumbleError SCENE when nothing is left, and for instances of collections.
    """
    for thing in objects:
        if thing.type == "EMPTY" and thing.instance_type == "COLLECTION":
            raise scene_error(f"{thing.name} shows instances of other objects. {MAKE_REAL}", field="objects")
    found = list(dict.fromkeys(thing for thing in objects if hasattr(thing.data, "materials")))
    if not found:
        raise scene_error("select the objects to texture", field="objects")
    return found


def surfaces(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> tuple[capture.MeshArrays, ...]:
    """The objects' evaluated meshes with the UV maps to paint on.

    Raises ScumbleError SCENE for objects that are hidden, linked, without faces or UV map, or flattened to nothing, and
    TOO_LARGE for more triangles than a job may have.
    """
    context.view_layer.update()
    for thing in objects:
        editable_object(thing)
        _check_shown(context, thing)
        thing.data.update_tag()  # a script that removes a UV map doesn't, and Blender evaluates the old mesh
    depsgraph = context.evaluated_depsgraph_get()
    meshes = tuple(_surface(depsgraph, thing) for thing in objects)
    count = sum(len(mesh.triangles) for mesh in meshes)
    if count > DEFAULT_LIMITS.triangles:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{count:,} triangles are more than the {DEFAULT_LIMITS.triangles:,} that can be textured at once",
            field="objects",
            remedy=Remedy("Texture fewer objects at a time, or lower their subdivision"),
        )
    return meshes


def _check_shown(context: bpy.types.Context, thing: bpy.types.Object) -> None:
    if thing.name not in context.view_layer.objects:
        raise scene_error(f"{thing.name} isn't in this view layer; show its collection first", field="objects")
    if not thing.visible_get(view_layer=context.view_layer):
        raise scene_error(f"{thing.name} is hidden; show it first", field="objects")


def _surface(depsgraph: bpy.types.Depsgraph, thing: bpy.types.Object) -> capture.MeshArrays:
    matrix = np.array(thing.evaluated_get(depsgraph).matrix_world)[:3, :3]
    if not np.isfinite(matrix).all() or abs(float(np.linalg.det(matrix.astype(np.float64)))) < 1e-30:
        raise scene_error(f"{thing.name} is scaled to zero along an axis; give it another scale", field="objects")
    mesh = capture.meshes(depsgraph, [thing], preferred=OWN_UV_MAP)[0]
    if mesh.uvs is None:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"{thing.name} has no UV map to paint on",
            field="objects",
            remedy=Remedy("Unwrap into a New Map", RemedyAction.ADD_UV_MAP, thing.name),
        )
    if not np.isfinite(mesh.vertices).all():
        raise scene_error(f"{thing.name} has vertices that are nowhere; check its modifiers", field="objects")
    return mesh


def chosen_views(context: bpy.types.Context, kinds: frozenset[str]) -> tuple[GivenView, ...]:
    """The current view and the listed cameras, of the size the scene's settings have.

    kinds: of ``SCUMBLE_PG_around.views``. Raises ScumbleError SCENE without a view or a camera to look through.
    """
    around: SCUMBLE_PG_around = context.scene.scumble_around
    views = []
    if "CURRENT" in kinds:
        views.append(GivenView(CURRENT, _current(context), around.current_prompt))
    if "CAMERAS" in kinds:
        listed = [entry for entry in around.cameras if entry.camera is not None]
        if not listed:
            raise scene_error("there is no camera in the list; add some, or let views be placed", field="cameras")
        views += [GivenView(entry.camera.name, _camera_view(context, entry.camera), entry.prompt) for entry in listed]
    return tuple(views)


def _camera_view(context: bpy.types.Context, camera: bpy.types.Object | None) -> Camera:
    """What a camera, the scene's own by default, sees at the size of the settings."""
    settings = context.scene.scumble
    depsgraph = context.evaluated_depsgraph_get()
    return framing_of_scene_camera(context.scene, depsgraph, camera, settings.width, settings.height).camera


def _current(context: bpy.types.Context) -> Camera:
    settings = context.scene.scumble
    if settings.source == "CAMERA":
        return _camera_view(context, None)
    area = viewport(context)
    region = next(region for region in area.regions if region.type == "WINDOW")
    return viewport_camera(region, area.spaces.active.region_3d, settings.width, settings.height)


def wish_of(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    kinds: frozenset[str] | None = None,
    cameras: Sequence[bpy.types.Object] = (),
) -> Wish:
    """What the scene's settings ask for. kinds: of ``SCUMBLE_PG_around.views``, in their place. cameras: to look from
    besides.

    Raises ScumbleError SCENE as the parts do, and INVALID_FIELD for kinds there aren't.
    """
    around: SCUMBLE_PG_around = context.scene.scumble_around
    settings = context.scene.scumble
    wanted = frozenset(around.views) if kinds is None else kinds
    if strange := wanted - KINDS:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"views are some of {', '.join(sorted(KINDS))}, not {next(iter(strange))}",
            field="views",
        )
    if not wanted and not cameras:
        raise scene_error("choose where to look from: all around, the current view or cameras", field="views")
    return Wish(
        meshes=surfaces(context, surfaces_among(objects)),
        given=(
            *chosen_views(context, wanted),
            *(GivenView(camera.name, _camera_view(context, camera)) for camera in cameras),
        ),
        automatic="AUTOMATIC" in wanted,
        size=(settings.width, settings.height),
        ortho=around.projection == "ORTHO",
        prompts={entry.name: entry.prompt for entry in around.prompts if entry.prompt},
    )
