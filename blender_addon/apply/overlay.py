"""The picture over the very view it was made from, and nowhere else: gone when the view moves, back when it returns."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import gpu
import numpy as np
from gpu_extras.presets import draw_texture_2d
from numpy.typing import NDArray
from scumble_shared.camera import Camera

from ..prepare import float_pixels

__all__ = ["clear", "is_shown", "place", "register", "show", "show_pixels", "shown_job", "unregister"]

TOLERANCE = 1.5
"""Pixels that the picture's corners may be off before the view counts as moved."""

DEPTHS = (1.0, 7.0)
"""Two depths at which the corners must agree; parallax tells a moved view from a zoomed one."""

Rectangle = tuple[float, float, float, float]


@dataclass(slots=True)
class _Shown:
    job_id: str
    camera: Camera
    pixels: NDArray[np.float32] | None  # None once they are on the GPU
    texture: gpu.types.GPUTexture | None = None


_shown: _Shown | None = None
_handle: object = None


def show(job_id: str, camera: Camera, pixels: NDArray[np.uint8]) -> None:
    """pixels: uint8 H x W x C, top row first."""
    show_pixels(job_id, camera, float_pixels(pixels))


def show_pixels(job_id: str, camera: Camera, pixels: NDArray[np.float32]) -> None:
    """pixels: float32 H x W x 4 in [0, 1], bottom row first, sRGB. The texture is made at the next redraw."""
    global _shown
    _shown = _Shown(job_id, camera, pixels)


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
        shown.texture = _texture(shown.pixels)
        shown.pixels = None
    left, bottom, right, top = rectangle
    gpu.state.blend_set("ALPHA")
    draw_texture_2d(shown.texture, (left, bottom), right - left, top - bottom)
    gpu.state.blend_set("NONE")


def _texture(pixels: NDArray[np.float32]) -> gpu.types.GPUTexture:
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
