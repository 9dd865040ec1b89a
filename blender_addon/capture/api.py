"""The captures themselves: choose the path, frame the view, and give the buffers their final form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError

from .cameras import Framing, camera_of_matrices, framing_of_scene_camera, viewport_camera
from .color import camera_color, viewport_color
from .cycles_path import capture_with_cycles
from .frame import BUFFERS, GEOMETRY, CapturedFrame, scene_error
from .gpu_path import DrawnSurface, GpuPath, RawGeometry
from .gpu_start import gpu_available
from .scene_walk import HOLDOUT_ID, Evaluated, shown_in_viewport
from .unhidden import evaluated_for_render

__all__ = [
    "METHODS",
    "capture_camera",
    "capture_matrices",
    "capture_view3d",
    "drawn_surfaces",
    "gpu_path",
    "unregister",
]

METHODS = ("auto", "gpu", "cycles")
"""auto takes the GPU where it can draw, Cycles otherwise."""

gpu_path = GpuPath()
"""The process's one owner of GPU objects."""


def unregister() -> None:
    """Frees everything on the GPU. Captures work again afterwards, from a cold start."""
    gpu_path.free()


def drawn_surfaces() -> tuple[DrawnSurface, ...]:
    """What the latest capture on the GPU drew; empty without one. They hold GPU memory: let go of them in the end."""
    return gpu_path.latest


def capture_view3d(
    where: bpy.types.Context | bpy.types.Area,
    width: int,
    height: int,
    buffers: Collection[str] = GEOMETRY,
    method: str = "auto",
    context: bpy.types.Context | None = None,
    *,
    precise: bool = True,
) -> CapturedFrame:
    """What a 3D viewport looks at: its perspective, its local view, its hidden objects; not its shading.

    where: a context inside a 3D viewport, or the area itself (then of ``context``'s scene). width, height: pixels; a
    size of another aspect than the viewport's shows its middle. Blender's orthographic views start behind their eye:
    the camera handed back has its eye where the view starts. precise: without it, which is
    quicker, normals may be rounded to 8 bits.
    Raises SCENE when there is no viewport, or nothing in it.
    """
    area = where if isinstance(where, bpy.types.Area) else where.area
    context = context or (bpy.context if isinstance(where, bpy.types.Area) else where)
    if area is None or area.type != "VIEW_3D":
        raise scene_error("no 3D viewport to look through; open one, or capture the scene's camera.", field="view")
    region = next(region for region in area.regions if region.type == "WINDOW")
    space = area.spaces.active
    camera = viewport_camera(region, space.region_3d, width, height)
    depsgraph = context.evaluated_depsgraph_get()

    def color() -> NDArray[np.uint8]:
        return viewport_color(depsgraph.scene, depsgraph.view_layer, space, region, camera)

    sources = [Evaluated(depsgraph, shown_in_viewport(space))]
    return _capture(sources, Framing(camera), color, buffers, method, precise=precise)


def capture_camera(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer | None = None,
    camera_object: bpy.types.Object | None = None,
    width: int | None = None,
    height: int | None = None,
    buffers: Collection[str] = GEOMETRY,
    method: str = "auto",
    *,
    precise: bool = True,
) -> CapturedFrame:
    """What the scene's camera (or another object's view) sees of what is enabled for renders.

    view_layer: the scene's first by default. width, height: the render's size by default. Sensor fit, shift, pixel
    aspect, resolution percentage and render border count. precise: as for :func:`capture_view3d`.
    Raises SCENE without a camera, for panoramic ones, and when there is nothing to see.
    """
    layer = view_layer or scene.view_layers[0]
    layer.update()
    framing = framing_of_scene_camera(scene, layer.depsgraph, camera_object, width, height)

    def color() -> NDArray[np.uint8]:
        return camera_color(scene, layer, framing.camera)

    with evaluated_for_render(scene, layer, layer.depsgraph) as sources:
        return _capture(sources, framing, color, buffers, method, precise=precise)


def capture_matrices(
    depsgraph: bpy.types.Depsgraph,
    view_matrix: object,
    projection: object,
    width: int,
    height: int,
    buffers: Collection[str] = GEOMETRY,
    method: str = "auto",
) -> CapturedFrame:
    """What an arbitrary camera sees of what is enabled for renders. Matrices: anything numpy reads as 4 x 4."""
    camera = camera_of_matrices(view_matrix, projection, width, height)
    scene = bpy.data.scenes[depsgraph.scene.name]
    layer = scene.view_layers[depsgraph.view_layer.name]

    def color() -> NDArray[np.uint8]:
        return camera_color(scene, layer, camera)

    with evaluated_for_render(scene, layer, depsgraph) as sources:
        return _capture(sources, Framing(camera), color, buffers, method)


def _capture(
    sources: Sequence[Evaluated],
    framing: Framing,
    color: Callable[[], NDArray[np.uint8]],
    buffers: Collection[str],
    method: str,
    *,
    precise: bool = True,
) -> CapturedFrame:
    wanted = frozenset(buffers)
    if not wanted or wanted - BUFFERS:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"ask for some of {', '.join(sorted(BUFFERS))}.", field="buffers")
    path = _path(method, precise)
    raw = path(sources, framing.camera, _holdout(sources[0].depsgraph))
    if not raw.shown:
        raise scene_error("nothing is visible from here; show or add an object with faces.", field="view")
    return _finished(raw, framing, wanted, color() if "color" in wanted else None)


def _path(method: str, precise: bool) -> Callable[..., RawGeometry]:
    if method not in METHODS:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"method must be one of {', '.join(METHODS)}.", field="method")
    if method == "cycles" or (method == "auto" and not gpu_available()):
        return capture_with_cycles
    if not gpu_available():
        raise ScumbleError(ErrorCode.UNSUPPORTED, "this Blender can't draw on a GPU here; use Cycles.", field="method")
    return partial(gpu_path.capture, precise=precise)


def _holdout(depsgraph: bpy.types.Depsgraph) -> Callable[[bpy.types.Object], bool]:
    layer = depsgraph.view_layer

    def holdout(thing: bpy.types.Object) -> bool:
        return thing.is_holdout or thing.holdout_get(view_layer=layer)

    return holdout


def _finished(
    raw: RawGeometry, framing: Framing, wanted: frozenset[str], color: NDArray[np.uint8] | None
) -> CapturedFrame:
    """Cuts out holdouts and what lies outside the border, and drops what wasn't asked for."""
    nothing = None
    if any(surface.entry.holdout for surface in raw.shown):
        nothing = raw.object_id == HOLDOUT_ID
    if framing.window:
        left, top, right, bottom = framing.window
        outside = np.ones(raw.object_id.shape, bool)
        outside[top:bottom, left:right] = False
        nothing = outside if nothing is None else nothing | outside
        if color is not None:
            color[outside] = 0
    if nothing is not None:
        raw.depth[nothing], raw.normal[nothing], raw.object_id[nothing] = np.inf, 0.0, 0
    return CapturedFrame(
        camera=framing.camera,
        depth=raw.depth if "depth" in wanted else None,
        normal=raw.normal if "normal" in wanted else None,
        object_id=raw.object_id if "object_id" in wanted else None,
        color=color,
        objects=tuple(surface.entry for surface in raw.shown),
    )
