"""Whether this Blender can draw, and making it able to in background, without changing the file."""

from __future__ import annotations

import ctypes.util
import sys

import bpy
import gpu

from ..compat import GPU_INIT_IN_BACKGROUND
from .scratch_scene import scratch_scene, silent_render

__all__ = ["gpu_available", "ready_to_capture"]

_ready: bool | None = None


def gpu_available() -> bool:
    """True when shaders can be drawn into textures now; the answer is found once per process.

    In background it starts the GPU: ``gpu.init()`` where Blender has it, a Workbench render of a few pixels in a
    scene of its own before that (its side effect is a GPU context).
    """
    global _ready
    if _ready is None:
        _ready = not bpy.app.background or (_can_open_display() and _start() and _can_draw())
    return _ready


def ready_to_capture() -> bool:
    """False for the moment when Blender has no window to draw in: from a timer, after one was closed, until another is
    redrawn. Asking is cheap."""
    if not gpu_available():
        return True  # Cycles needs no window
    try:
        gpu.types.GPUFrameBuffer()
    except (RuntimeError, SystemError):
        return False
    return True


def _can_open_display() -> bool:
    """On Linux, Blender opens a background GPU context through EGL, and aborts the process when there is none."""
    return not sys.platform.startswith("linux") or ctypes.util.find_library("EGL") is not None


def _start() -> bool:
    if GPU_INIT_IN_BACKGROUND:
        try:
            gpu.init()
        except (RuntimeError, SystemError):
            return False
        return True
    with scratch_scene() as scene:
        scene.render.resolution_x = scene.render.resolution_y = 8
        scene.render.engine = "BLENDER_WORKBENCH"
        silent_render(scene)
    return True


def _can_draw() -> bool:
    try:
        gpu.types.GPUTexture((1, 1), format="RGBA32F")
    except (RuntimeError, SystemError):
        return False
    return True
