"""sRGB bytes <-> linear light, by table."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["linear_to_srgb", "srgb_to_linear"]

_STEPS = 1 << 16


@cache
def _decode() -> Tensor:
    value = torch.arange(256, dtype=torch.float64) / 255.0
    linear = torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear.float()


@cache
def _encode() -> Tensor:
    value = torch.arange(_STEPS, dtype=torch.float64) / (_STEPS - 1)
    encoded = torch.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1.0 / 2.4) - 0.055)
    return (encoded * 255.0 + 0.5).floor().to(torch.uint8)


def srgb_to_linear(image: Tensor) -> Tensor:
    """uint8 sRGB, any shape -> float32 linear in [0, 1]."""
    return _decode().to(image.device)[image.long()]


def linear_to_srgb(image: Tensor) -> Tensor:
    """float32 linear, clipped to [0, 1], any shape -> uint8 sRGB, rounded to nearest."""
    step = (image.clamp(0.0, 1.0) * (_STEPS - 1) + 0.5).long()
    return _encode().to(image.device)[step]
