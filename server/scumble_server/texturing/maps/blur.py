"""Gaussian blur within a mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

__all__ = ["blur", "gaussian"]

WIDE = 4.0
"""Pixels of sigma from which on a blur works on a picture of half the size."""


def blur(values: Tensor, weight: Tensor, sigma: float, wrap: tuple[bool, bool] = (False, False)) -> Tensor:
    """Mean of ``values`` round each pixel by a Gaussian, each counting by its weight.

    values, weight: float32 (h, w). sigma: pixels. wrap: whether the picture goes on where it began, (x, y). Pixels far
    from any weight come out as 0.
    """
    both = gaussian(torch.stack([values * weight, weight])[:, None], sigma, wrap)[:, 0]
    return both[0] / both[1].clamp(min=1e-4)


def gaussian(images: Tensor, sigma: float, wrap: tuple[bool, bool] = (False, False)) -> Tensor:
    """images: float32 (N, 1, h, w). Beyond an edge that doesn't wrap there is nothing."""
    height, width = images.shape[2:]
    if sigma >= WIDE and min(height, width) >= 64 and height % 2 == 0 and width % 2 == 0:
        # A box of two pixels has a variance of 1/4, which bilinear enlarging about doubles.
        half = gaussian(avg_pool2d(images, 2), math.sqrt(sigma * sigma - 0.5) / 2.0, wrap)
        return _doubled(half, wrap)
    for axis in (2, 3):
        length = images.shape[axis]
        reach = min(math.ceil(3.0 * sigma), length - 1 if wrap[3 - axis] else 4 * length)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        kernel = kernel / kernel.sum()
        sides = [0, 0, reach, reach] if axis == 2 else [reach, reach, 0, 0]
        padded = pad(images, sides, mode="circular") if wrap[3 - axis] else pad(images, sides)
        # A convolution of one channel takes several times as long as adding shifted pictures does.
        weights = kernel.tolist()
        images = padded.narrow(axis, reach, length) * weights[reach]
        for step in range(1, reach + 1):
            for begin in (reach - step, reach + step):
                images.add_(padded.narrow(axis, begin, length), alpha=weights[begin])
    return images


def _doubled(half: Tensor, wrap: tuple[bool, bool]) -> Tensor:
    """Bilinear, going on beyond edges that wrap."""
    sides = [int(wrap[0]), int(wrap[0]), int(wrap[1]), int(wrap[1])]
    padded = pad(half, sides, mode="circular") if any(sides) else half
    large = interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    height, width = half.shape[2] * 2, half.shape[3] * 2
    return large[..., 2 * sides[2] : 2 * sides[2] + height, 2 * sides[0] : 2 * sides[0] + width]
