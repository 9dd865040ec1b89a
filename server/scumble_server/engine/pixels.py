"""Images between a job and the autoencoder: sizes, padding, value ranges."""

from __future__ import annotations

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.tensor import AnyArray

from .conditioning.pixels import resize_smooth

__all__ = ["eight_bits", "image_array", "mask_array", "pad_to", "paste", "rounded_up", "to_unit_range"]


def rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def image_array(array: AnyArray, width: int, height: int, field: str) -> AnyArray:
    """A job's picture at the size wanted: uint8 height x width x 3. Alpha is dropped.

    Raises ScumbleError INVALID_FIELD if it is no uint8 picture.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected a uint8 picture, height x width x 3, got {array.dtype.name} of shape {array.shape}",
            field=field,
        )
    return _resized(array[..., :3], width, height)


def mask_array(array: AnyArray, width: int, height: int, field: str = "job.mask") -> AnyArray:
    """A job's mask at the size wanted: uint8 height x width. Raises ScumbleError INVALID_FIELD."""
    if array.dtype != np.uint8 or array.ndim != 2 or 0 in array.shape:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected a uint8 mask, height x width, got {array.dtype.name} of shape {array.shape}",
            field=field,
        )
    return _resized(array[..., None], width, height)[..., 0]


def pad_to(image: AnyArray, width: int, height: int) -> AnyArray:
    """Continued to the right and below by its last column and row; cropping undoes it."""
    missing = [(0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)]
    return np.pad(image, missing[: image.ndim], mode="edge")


def to_unit_range(image: AnyArray) -> torch.Tensor:
    """uint8 or uint16 H x W x C -> float32 1 x C x H x W in -1 to 1."""
    values = torch.from_numpy(image if image.dtype == np.uint8 else image.astype(np.int32))
    return values.permute(2, 0, 1)[None].float() / float(np.iinfo(image.dtype).max) * 2.0 - 1.0


def paste(image: AnyArray, original: AnyArray, mask: AnyArray) -> AnyArray:
    """``image`` where ``mask`` is 255, the very bytes of ``original`` where it is 0, mixed between.

    image, original: uint8 or uint16 H x W x 3. mask: uint8 H x W.
    """
    share = mask[..., None].astype(np.float32) / 255.0
    mixed: AnyArray = np.rint(image * share + original * (1.0 - share)).astype(image.dtype)
    return mixed


def eight_bits(image: AnyArray) -> AnyArray:
    """uint8 of uint8 or uint16, rounded to nearest."""
    if image.dtype == np.uint8:
        return image
    rounded: AnyArray = np.rint(image / 257.0).astype(np.uint8)
    return rounded


def _resized(image: AnyArray, width: int, height: int) -> AnyArray:
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    values = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    resized: AnyArray = (
        resize_smooth(values, width, height).round().clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    )
    return np.ascontiguousarray(resized)
