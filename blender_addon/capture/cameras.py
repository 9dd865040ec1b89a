"""Blender's cameras and viewports as ``scumble_shared.camera.Camera``: exact matrices, pixel-exact borders."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera, pack_matrix

from .frame import scene_error

__all__ = ["Framing", "camera_of_matrices", "framing_of_scene_camera", "viewport_camera"]

MAX_SIDE = 16384


@dataclass(frozen=True, slots=True)
class Framing:
    """A camera, and the part of its picture that is rendered: left, top, right, bottom in pixels, or None for all."""

    camera: Camera
    window: tuple[int, int, int, int] | None = None


def camera_of_matrices(view: object, projection: object, width: int, height: int) -> Camera:
    """A camera from a world -> view and an OpenGL projection matrix (anything numpy reads as 4 x 4).

    An orthographic view that starts behind its eye, as viewports' do, gets its eye moved back to where it starts: depth
    is never negative. Raises SCENE for sizes and matrices that show nothing.
    """
    check_size(width, height)
    view_matrix, projection_matrix = np.array(view, dtype=np.float64), np.array(projection, dtype=np.float64)
    if not (np.isfinite(view_matrix).all() and np.isfinite(projection_matrix).all()):
        raise scene_error(
            "the view isn't finite; the camera or its parent has an impossible transform.", field="camera"
        )
    if abs(np.linalg.det(projection_matrix)) == 0.0 or abs(np.linalg.det(view_matrix)) == 0.0:
        raise scene_error(
            "the view is flattened to nothing; check the camera's scale, lens and clip range.", field="camera"
        )
    near, far = clip_range(projection_matrix)
    if projection_matrix[3, 3] == 1.0 and near < 0.0:
        view_matrix, projection_matrix = view_matrix.copy(), projection_matrix.copy()
        view_matrix[2, 3] += near
        projection_matrix[2, 3] -= projection_matrix[2, 2] * near
        near, far = 0.0, far - near
    return Camera(pack_matrix(view_matrix), pack_matrix(projection_matrix), int(width), int(height), near, far)


def clip_range(projection: NDArray[np.float64]) -> tuple[float, float]:
    """Near and far plane of an OpenGL projection, scene units."""
    a, b = projection[2, 2], projection[2, 3]
    if projection[3, 3] == 1.0:
        return float((b + 1.0) / a), float((b - 1.0) / a)
    return float(b / (a - 1.0)), float(b / (a + 1.0))


def check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise scene_error(f"{width} x {height} pixels can't be captured; sides must be 1 to {MAX_SIDE}.", field="size")


def viewport_camera(region: bpy.types.Region, view: bpy.types.RegionView3D, width: int, height: int) -> Camera:
    """What a 3D viewport looks through, at another size: its middle, cut to the aspect that was asked for."""
    check_size(width, height)
    projection = np.array(view.window_matrix, dtype=np.float64)
    aspect, wanted = max(region.width, 1) / max(region.height, 1), width / height
    scale = np.eye(4)
    if wanted < aspect:
        scale[0, 0] = aspect / wanted
    else:
        scale[1, 1] = wanted / aspect
    return camera_of_matrices(view.view_matrix, scale @ projection, width, height)


def framing_of_scene_camera(
    scene: bpy.types.Scene,
    depsgraph: bpy.types.Depsgraph,
    camera_object: bpy.types.Object | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Framing:
    """The scene's camera (or another object) as a render of the scene frames it.

    Without a size: the render's, with its percentage, and cut to a border that is set to crop. With a size: the same
    picture at that size. A border without crop limits what is captured, as it limits a render.
    Raises SCENE without a camera and for panoramic and custom ones.
    """
    thing = camera_object or scene.camera
    if thing is None:
        raise scene_error("the scene has no camera; add one (Add > Camera) or capture the viewport.", field="camera")
    if thing.type == "CAMERA" and thing.data.type not in {"PERSP", "ORTHO"}:
        raise scene_error(
            "panoramic cameras have no flat picture; use a perspective or orthographic one.", field="camera"
        )
    render = scene.render
    crop = render.use_border and render.use_crop_to_border
    full = _render_size(render)
    inner = _border(render, *full) if crop else (0, 0, *full)
    size = (inner[2] - inner[0] if width is None else width, inner[3] - inner[1] if height is None else height)
    check_size(*size)
    lens = full if crop else size
    evaluated = thing.evaluated_get(depsgraph)
    projection = evaluated.calc_matrix_camera(
        depsgraph, x=lens[0], y=lens[1], scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    if crop:
        projection = _window_matrix(inner, full) @ np.array(projection, dtype=np.float64)
    camera = camera_of_matrices(_world_to_view(evaluated.matrix_world), projection, *size)
    return Framing(camera, _border(render, *size) if render.use_border and not crop else None)


def _render_size(render: bpy.types.RenderSettings) -> tuple[int, int]:
    """Pixels of a render, rounded as Blender does."""
    percent = render.resolution_percentage
    return max(1, render.resolution_x * percent // 100), max(1, render.resolution_y * percent // 100)


def _border(render: bpy.types.RenderSettings, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the render border in a picture of this size; Blender cuts fractions off."""
    left, right = int(render.border_min_x * width), int(render.border_max_x * width)
    bottom, top = int(render.border_min_y * height), int(render.border_max_y * height)
    if right <= left or top <= bottom:
        raise scene_error("the render border is empty; draw it again or switch it off.", field="camera")
    return left, height - top, right, height - bottom


def _window_matrix(window: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """Maps a pixel window of a picture to all of NDC."""
    (left, top, right, bottom), (width, height) = window, size
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    matrix = np.eye(4)
    matrix[0, 0], matrix[1, 1] = scale_x, scale_y
    matrix[0, 3] = -(left + right - width) / width * scale_x
    matrix[1, 3] = (top + bottom - height) / height * scale_y
    return matrix


def _world_to_view(matrix_world: Matrix) -> NDArray[np.float64]:
    """Inverse of the camera's placement; as in Blender, its scale doesn't count."""
    rigid = np.array(matrix_world.normalized(), dtype=np.float64)
    rotation = rigid[:3, :3]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T
    matrix[:3, 3] = -rotation.T @ rigid[:3, 3]
    return matrix
