"""What differs between the Blender versions Scumble supports (4.2 to 5.2), in one place."""

from __future__ import annotations

import atexit
from collections.abc import Callable

import bpy

__all__ = ["GPU_INIT_IN_BACKGROUND", "register_exit", "set_float_exr", "unregister_exit"]

GPU_INIT_IN_BACKGROUND = bpy.app.version >= (5, 2, 0)
"""Whether ``gpu.init()`` makes the GPU usable in background; before, a Workbench render did as a side effect."""


def set_float_exr(settings: bpy.types.ImageFormatSettings) -> None:
    """Uncompressed 32-bit multilayer EXR in one part: every pass exactly as rendered."""
    if bpy.app.version >= (5, 0, 0):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    if hasattr(settings, "use_exr_interleave"):
        settings.use_exr_interleave = True  # 5.1 on: one part per pass otherwise
    settings.color_depth = "32"
    settings.exr_codec = "NONE"


def register_exit(function: Callable[..., None]) -> None:
    """Have ``function`` called when Blender quits: before the GPU is gone where there is a handler for it (5.1 on)."""
    if hasattr(bpy.app.handlers, "exit_pre"):
        bpy.app.handlers.exit_pre.append(function)
    else:
        atexit.register(function)


def unregister_exit(function: Callable[..., None]) -> None:
    if hasattr(bpy.app.handlers, "exit_pre"):
        bpy.app.handlers.exit_pre.remove(function)
    else:
        atexit.unregister(function)
