"""Pictures at another size, by Lanczos' window: sharp, with little ringing, and without a seam where they repeat."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["resample"]

LOBES = 3


def resample(image: Tensor, height: int, width: int, tiling: str = "") -> Tensor:
    """B x C x H x W -> B x C x height x width, values of its range and a little beyond where edges are sharp.

    tiling: directions in which the picture repeats, "x", "y" or both; elsewhere it goes on as its edge is. The very
    same tensor where the size is right already.
    """
    image = _along(image, 2, height, "y" in tiling)
    return _along(image, 3, width, "x" in tiling)


def _along(image: Tensor, axis: int, size: int, repeats: bool) -> Tensor:
    if image.shape[axis] == size:
        return image
    places, weights = _taps(image.shape[axis], size, repeats, image.device)
    shape = [1] * image.ndim
    shape[axis] = size
    result = torch.zeros((), dtype=image.dtype, device=image.device)
    for place, weight in zip(places, weights, strict=True):
        result = torch.addcmul(result, image.index_select(axis, place), weight.to(image.dtype).view(shape))
    return result


def _taps(old: int, new: int, repeats: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Per tap, for each new pixel, the old one and its weight: (K, new) each; weights sum to 1."""
    stretch = max(1.0, old / new)  # when shrinking, the window covers what becomes one pixel
    centre = (torch.arange(new, dtype=torch.float64) + 0.5) * (old / new) - 0.5
    reach = math.ceil(LOBES * stretch)
    place = torch.floor(centre)[None] + torch.arange(-reach + 1, reach + 1, dtype=torch.float64)[:, None]
    distance = (place - centre) / stretch
    weight = torch.where(distance.abs() < LOBES, torch.sinc(distance) * torch.sinc(distance / LOBES), 0.0)
    index = place.long()
    index = index % old if repeats else index.clamp(0, old - 1)
    return index.to(device), (weight / weight.sum(0)).to(device)
