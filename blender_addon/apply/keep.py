"""Painted places that an artist wants to stay, from an image that says which."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError

from .base import pixels_of

__all__ = ["keep_mask"]


def keep_mask(image: bpy.types.Image, size: int) -> NDArray[np.uint8]:
    """uint8 size x size, top row first: 255 where the image is white, and stays. Laid out as the texture is.

    An image whose alpha varies says it by that. Raises ScumbleError SCENE for an image without pixels.
    """
    width, height = image.size
    if 0 in (width, height) or image.source == "TILED":
        raise ScumbleError(
            ErrorCode.SCENE, f"{image.name} can't say what to keep: it has no pixels, or several tiles", field="keep"
        )
    pixels = pixels_of(image)
    mask = pixels[..., : min(3, image.channels)].mean(axis=2)
    if image.channels == 4 and pixels[..., 3].min() < pixels[..., 3].max():
        mask = pixels[..., 3]
    rows = (np.arange(size) + 0.5) * height // size
    columns = (np.arange(size) + 0.5) * width // size
    chosen = mask[rows.astype(int)[:, None], columns.astype(int)[None]]
    return np.rint(np.clip(chosen, 0.0, 1.0) * 255.0).astype(np.uint8)
