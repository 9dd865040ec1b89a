"""Blender's images as reference pictures and masks: eight bits, three colours, whatever the file had."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS

__all__ = ["forget", "mask_pixels", "picture_pixels"]

Key = tuple[object, ...]

_kept: dict[tuple[int, bool], tuple[Key, NDArray[np.uint8]]] = {}
"""By the images' session_uid, and whether as masks: live mode asks for the same ones several times a second."""


def picture_pixels(image: bpy.types.Image, fresh: bool = True) -> NDArray[np.uint8]:
    """uint8 H x W x 3, sRGB, top row first; alpha is dropped. fresh: read anew even if it seems to be the same.

    Raises ScumbleError SCENE for images that can't be read, or aren't one picture; TOO_LARGE.
    """
    return _known(image, fresh, _read, is_mask=False)


def mask_pixels(image: bpy.types.Image, fresh: bool = True) -> NDArray[np.uint8]:
    """uint8 H x W, top row first, 255 where it is white. Raises likewise."""
    return _known(image, fresh, lambda one: np.rint(_read(one).mean(axis=2)).astype(np.uint8), is_mask=True)


def forget() -> None:
    """Give back what was read."""
    _kept.clear()


def _known(
    image: bpy.types.Image, fresh: bool, read: Callable[[bpy.types.Image], NDArray[np.uint8]], *, is_mask: bool
) -> NDArray[np.uint8]:
    key, place = _key(image), (image.session_uid, is_mask)
    kept = _kept.get(place)
    if fresh or kept is None or kept[0] != key:
        kept = _kept[place] = (key, read(image))
    return kept[1]


def _key(image: bpy.types.Image) -> Key:
    return (image.name, image.filepath, image.source, image.is_dirty, image.colorspace_settings.name, *image.size)


def _read(image: bpy.types.Image) -> NDArray[np.uint8]:
    if image.source in ("MOVIE", "SEQUENCE", "TILED") or image.type in ("RENDER_RESULT", "COMPOSITING"):
        raise _refused(f"{image.name} isn't one picture of its own; save one of it and use that")
    width, height = image.size
    if 0 in (width, height):
        raise _refused(f"{image.name} can't be read: its file is missing or damaged. Choose another picture")
    if max(width, height) > DEFAULT_LIMITS.image_side:
        side = DEFAULT_LIMITS.image_side
        message = f"{image.name} has {width} x {height} pixels; at most {side} a side can be used. Make it smaller"
        raise ScumbleError(ErrorCode.TOO_LARGE, message, field="references")
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    pixels = values.reshape(height, width, image.channels)[::-1]
    colours = np.repeat(pixels[..., :1], 3, axis=2) if image.channels < 3 else pixels[..., :3]
    colours = np.clip(np.nan_to_num(colours), 0.0, 1.0)
    if image.is_float and not image.colorspace_settings.is_data:  # float images are held in linear light
        colours = np.where(colours <= 0.0031308, colours * 12.92, 1.055 * colours ** (1.0 / 2.4) - 0.055)
    return np.ascontiguousarray(np.rint(colours * 255.0).astype(np.uint8))


def _refused(reason: str) -> ScumbleError:
    return ScumbleError(ErrorCode.SCENE, reason, field="references")
