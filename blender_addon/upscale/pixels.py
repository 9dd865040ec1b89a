"""Blender's images as the numbers that their files hold."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["image_pixels"]


def image_pixels(image: bpy.types.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """uint8 or, of an image with more than 8 bits, uint16; H x W x 3 or 4, top row first, as its colour space has them.

    Raises ScumbleError SCENE for images without pixels, and for those whose pixels are of several kinds.
    """
    if image.source == "TILED":
        raise _refused(f"{image.name} has UDIM tiles; enlarge what made it, or one tile at a time")
    if image.source in ("MOVIE", "SEQUENCE") or image.type in ("RENDER_RESULT", "COMPOSITING"):
        raise _refused(f"{image.name} isn't a picture of its own; save it as one first")
    width, height = image.size
    if 0 in (width, height) or image.channels not in (3, 4):
        raise _refused(f"{image.name} has no colours that could be enlarged")
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    pixels = values.reshape(height, width, image.channels)[::-1]
    if not image.is_float:
        return np.rint(pixels * 255.0).astype(np.uint8)
    colours = np.clip(pixels[..., :3], 0.0, 1.0)
    if image.colorspace_settings.name == "sRGB":  # float images are held in linear light
        colours = np.where(colours <= 0.0031308, colours * 12.92, 1.055 * colours ** (1.0 / 2.4) - 0.055)
    encoded = np.concatenate([colours, np.clip(pixels[..., 3:], 0.0, 1.0)], axis=2)
    return np.rint(encoded * 65535.0).astype(np.uint16)


def _refused(reason: str) -> ScumbleError:
    return ScumbleError(ErrorCode.SCENE, reason, field="image")
