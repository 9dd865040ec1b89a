"""Small copies of control images for the panel; no datablock is made for them."""

from __future__ import annotations

import bpy
import bpy.utils.previews
import numpy as np
from numpy.typing import NDArray

__all__ = ["clear", "control_icon", "set_control_icon"]

_collection: bpy.utils.previews.ImagePreviewCollection | None = None


def set_control_icon(scene_uid: int, index: int, pixels: NDArray[np.float32]) -> None:
    """pixels: float32 h x w x 4, bottom row first. index: of the control in the job."""
    global _collection
    if _collection is None:
        _collection = bpy.utils.previews.new()
    name = f"{scene_uid}/{index}"
    preview = _collection.get(name) or _collection.new(name)
    height, width, _ = pixels.shape
    preview.image_size = (width, height)
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(pixels).reshape(-1))


def control_icon(scene_uid: int, index: int) -> int:
    """For ``UILayout.template_icon``; 0 while there is none."""
    preview = _collection.get(f"{scene_uid}/{index}") if _collection is not None else None
    return preview.icon_id if preview is not None else 0


def clear() -> None:
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
        _collection = None
