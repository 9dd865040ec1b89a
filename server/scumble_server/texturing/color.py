"""sRGB, in bytes or 16-bit numbers, <-> linear light."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scumble_shared.tensor import AnyArray
from torch import Tensor

__all__ = ["as_numbers", "display", "linear_light", "linear_to_srgb", "srgb_to_linear"]

_STEPS = 1 << 16
_CHUNK = 1 << 22


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


def linear_light(image: AnyArray, device: torch.device | str) -> Tensor:
    """uint8 or uint16 sRGB, any shape -> float32 linear in [0, 1]."""
    if image.dtype == np.uint8:
        return srgb_to_linear(torch.from_numpy(np.ascontiguousarray(image)).to(device))
    value = torch.from_numpy(image.astype(np.float32) / np.float32(65535.0)).to(device)
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def display(linear: Tensor, bits: int) -> AnyArray:
    """float32 linear, clipped to [0, 1], any shape -> uint8 or uint16 sRGB, rounded to nearest."""
    if bits == 8:
        shown: AnyArray = linear_to_srgb(linear).cpu().numpy()
        return shown
    parts = []
    for value in linear.flatten().split(_CHUNK):  # type: ignore[no-untyped-call]
        value = value.clamp(0.0, 1.0)
        encoded = torch.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1.0 / 2.4) - 0.055)
        parts.append(as_numbers(encoded, bits))
    whole: AnyArray = np.concatenate(parts).reshape(linear.shape)
    return whole


def as_numbers(fractions: Tensor, bits: int) -> AnyArray:
    """float32 in [0, 1], any shape -> uint8 or uint16, rounded to nearest."""
    most = 2**bits - 1
    array: AnyArray = (fractions * most + 0.5).clamp(0.0, most).cpu().numpy().astype(f"uint{bits}")
    return array
