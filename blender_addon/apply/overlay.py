"""The picture over the very view it was made from, and nowhere else: gone when the view moves, back when it returns."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from numpy.typing import NDArray
from scumble_shared.camera import Camera

from ..prepare import float_pixels
from .overlay_shader import forget, overlay_shader

__all__ = [
    "Look",
    "clear",
    "is_shown",
    "make_texture",
    "place",
    "register",
    "set_look",
    "show",
    "show_pixels",
    "shown_job",
    "unregister",
]

TOLERANCE = 1.5
"""Pixels that the picture's corners may be off before the view counts as moved."""

DEPTHS = (1.0, 7.0)
"""Two depths at which the corners must agree; parallax tells a moved view from a zoomed one."""

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture lies over its view. opacity: in [0, 1]. wipe: part of the region's width, from the left, in which
    it is shown, for comparing with what is under it. only_objects: nothing over the background, where that is known.
    """

    opacity: float = 1.0
    wipe: float = 1.0
    only_objects: bool = False


@dataclass(slots=True)
class _Shown:
    """covered: bool H x W, top row first, where there is an object; the size may be another than the picture's."""

    job_id: str
    camera: Camera
    pixels: NDArray[np.float32]
    covered: NDArray[np.bool_] | None
    look: Look
    texture: gpu.types.GPUTexture | None = None


_shown: _Shown | None = None
_handle: object = None


def show(job_id: str, camera: Camera, pixels: NDArray[np.uint8]) -> None:
    """pixels: uint8 H x W x C, top row first."""
    show_pixels(job_id, camera, float_pixels(pixels))


def show_pixels(
    job_id: str,
    camera: Camera,
    pixels: NDArray[np.float32],
    covered: NDArray[np.bool_] | None = None,
    look: Look | None = None,
) -> None:
    """pixels: float32 H x W x 4 in [0, 1], bottom row first, sRGB. The texture is made at the next redraw.

    covered: bool H x W of any size, top row first, where there is an object.
    """
    global _shown
    _shown = _Shown(job_id, camera, pixels, covered, look or Look())


def set_look(look: Look) -> None:
    """Of the picture that is shown; the next one brings its own."""
    if _shown is not None:
        if look.only_objects != _shown.look.only_objects:
            _shown.texture = None
        _shown.look = look


def clear() -> None:
    global _shown
    _shown = None


def is_shown() -> bool:
    return _shown is not None


def shown_job() -> str:
    """Id of the job whose picture is shown, "" for none."""
    return _shown.job_id if _shown is not None else ""


def place(camera: Camera, perspective: NDArray[np.floating], width: int, height: int) -> Rectangle | None:
    """Where the picture of ``camera`` lies in a view: (left, bottom, right, top) in pixels, or None if it doesn't fit.

    perspective: world -> clip of the view, 4 x 4. width, height: of the view, pixels.
    """
    corners = np.array([[0.0, camera.height], [camera.width, 0.0], [0.0, 0.0]])
    found = []
    for depth in DEPTHS:
        world = camera.unproject(corners, np.full(3, depth))
        clip = np.column_stack([world, np.ones(3)]) @ np.asarray(perspective, np.float64).T
        if (clip[:, 3] <= 0.0).any():
            return None
        found.append((clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * (width, height))
    if np.abs(found[0] - found[1]).max() > TOLERANCE:
        return None
    (left, bottom), (right, top), third = found[0]
    if abs(third[0] - left) > TOLERANCE or abs(third[1] - top) > TOLERANCE or right <= left or top <= bottom:
        return None
    return float(left), float(bottom), float(right), float(top)


def _draw() -> None:
    shown, context = _shown, bpy.context
    region, view = context.region, context.region_data
    if shown is None or region is None or view is None:
        return
    rectangle = place(shown.camera, np.array(view.perspective_matrix), region.width, region.height)
    if rectangle is None:
        return
    if shown.texture is None:
        shown.texture = make_texture(_masked(shown.pixels, shown.covered) if shown.look.only_objects else shown.pixels)
    _draw_rectangle(shown.texture, rectangle, shown.look.wipe * region.width, shown.look.opacity)


def _draw_rectangle(texture: gpu.types.GPUTexture, rectangle: Rectangle, limit: float, opacity: float) -> None:
    """limit: x in pixels beyond which nothing is drawn."""
    left, bottom, full_right, top = rectangle
    right = min(full_right, limit)
    if right <= left:
        return
    u = (right - left) / (full_right - left)
    shader = overlay_shader()
    corners = {
        "pos": ((left, bottom), (right, bottom), (right, top), (left, top)),
        "texCoord": ((0.0, 0.0), (u, 0.0), (u, 1.0), (0.0, 1.0)),
    }
    batch = batch_for_shader(shader, "TRI_FAN", corners)
    shader.bind()
    shader.uniform_sampler("image", texture)
    shader.uniform_float("opacity", opacity)
    gpu.state.blend_set("ALPHA")
    batch.draw(shader)
    gpu.state.blend_set("NONE")


def _masked(pixels: NDArray[np.float32], covered: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """The pixels, transparent where no object is."""
    if covered is None:
        return pixels
    height, width, _ = pixels.shape
    rows = (np.arange(height) + 0.5) * covered.shape[0] // height
    columns = (np.arange(width) + 0.5) * covered.shape[1] // width
    result = pixels.copy()
    result[..., 3] *= covered[::-1][rows.astype(int)[:, None], columns.astype(int)]
    return result


def make_texture(pixels: NDArray[np.float32]) -> gpu.types.GPUTexture:
    """pixels: as of :func:`show_pixels`."""
    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(-1)
    return gpu.types.GPUTexture((width, height), format="RGBA8", data=gpu.types.Buffer("FLOAT", flat.size, flat))


def register() -> None:
    global _handle
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    global _handle
    bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = None
    clear()
    forget()
