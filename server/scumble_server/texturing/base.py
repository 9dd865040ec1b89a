"""What a texture is painted over, and where it must stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import ProjectJob, TextureJob
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from .color import as_numbers, display, linear_light
from .dilate import nearest_filled, padding
from .mesh import to_tensor
from .raster import TexelMap

__all__ = ["Base", "checked", "load_bases", "opacity", "painted"]

NUMBERS = ("uint8", "uint16")


@dataclass(frozen=True, slots=True)
class Base:
    """image: uint8 or uint16 S x S x 4, sRGB. keep: uint8 (S * S,), where it stays though something is painted over it;
    None for nowhere."""

    image: AnyArray
    keep: Tensor | None

    def freedom(self, texels: TexelMap) -> Tensor | None:
        """float32 (S * S,), 1 where anything may be painted, 0 where nothing; None if all may. Round islands it is what
        it is at their edge."""
        if self.keep is None:
            return None
        free = 1.0 - self.keep.float() / 255.0
        target, source = nearest_filled(texels.covered, padding(texels.size), repeats=texels.repeats)
        free[target] = free[source]
        return free

    def exact(self, bits: int) -> AnyArray:
        """The colours, S x S x 3, in so many bits."""
        colour = self.image[..., :3]
        if colour.dtype.itemsize * 8 == bits:
            return colour
        wider: AnyArray = colour.astype(np.uint16) * np.uint16(257)
        return wider if bits == 16 else np.rint(colour / 257.0).astype(np.uint8)


def load_bases(
    job: ProjectJob | TextureJob, tensors: Mapping[Digest, AnyArray], device: torch.device | str, count: int
) -> list[Base | None]:
    """One for each texture. Raises ScumbleError INVALID_FIELD for pictures that don't fit."""
    if not job.base:
        if job.keep:
            raise ScumbleError(ErrorCode.INVALID_FIELD, "there is no base to keep", field="job.keep")
        return [None] * count
    for given, name, word in ((job.base, "base", "bases"), (job.keep, "keep", "masks")):
        if given and len(given) != count:
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"{count} textures need as many {word}", field=f"job.{name}")
    side = job.texture_size
    images = [checked(tensors[digest], (side, side, 4), NUMBERS, f"job.base[{i}]") for i, digest in enumerate(job.base)]
    masks = [checked(tensors[digest], (side, side), NUMBERS[:1], f"job.keep[{i}]") for i, digest in enumerate(job.keep)]
    keeps: list[Tensor | None] = [to_tensor(mask, device).flatten() for mask in masks]
    keeps = keeps or [None] * count
    return [Base(image, keep) for image, keep in zip(images, keeps, strict=True)]


def painted(colour: Tensor, share: Tensor, base: Base | None, bits: int) -> AnyArray:
    """uint8 or uint16 S x S x 3, sRGB.

    colour: float32 (3, S * S), linear. share: float32 (S * S,), how far it covers the base, whose very numbers stay
    where it is 0.
    """
    side = round(len(share) ** 0.5)
    if base is None:
        return _image(colour, side, bits)
    below = linear_light(base.image[..., :3], colour.device).view(-1, 3).T
    mixed = below + (colour - below) * share
    kept = (share == 0.0).view(side, side, 1).cpu().numpy()
    shown: AnyArray = np.where(kept, base.exact(bits), _image(mixed, side, bits))
    return shown


def _image(colour: Tensor, side: int, bits: int) -> AnyArray:
    """A channel at a time, which takes less memory."""
    image = np.empty((side, side, len(colour)), f"uint{bits}")
    for index, channel in enumerate(colour):
        image[..., index] = display(channel, bits).reshape(side, side)
    return image


def opacity(share: Tensor, bits: int) -> AnyArray:
    """float32 (S * S,) -> uint8 or uint16 S x S."""
    side = round(len(share) ** 0.5)
    return as_numbers(share, bits).reshape(side, side)


def checked(array: AnyArray, shape: tuple[int, ...], dtypes: tuple[str, ...], field: str) -> AnyArray:
    """The array. Raises ScumbleError INVALID_FIELD for another shape or type."""
    if array.shape != shape or array.dtype.name not in dtypes:
        wanted = " or ".join(dtypes)
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"expected {wanted} {shape}, got {array.dtype.name} {array.shape}", field=field
        )
    return array
