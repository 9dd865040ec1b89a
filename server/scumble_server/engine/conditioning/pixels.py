"""Sizes and number formats of control images."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["resize_nearest", "resize_smooth", "to_bytes"]


def to_bytes(image: torch.Tensor) -> torch.Tensor:
    """float B x C x H x W in [0, 1] -> uint8 B x H x W x C, rounded to nearest (0.5 -> 128)."""
    return (image * 255.0 + 0.5).clamp_(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)


def resize_smooth(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """B x C x H x W -> B x C x height x width, bilinear; averages over the covered area when shrinking.

    The very same tensor where the size is right already.
    """
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


def resize_nearest(values: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """B x H x W (x C) -> B x height x width (x C): the value at the pixel that holds each new pixel's centre.

    For values that must not be mixed: ids, and depths with inf.
    """
    old_height, old_width = values.shape[1:3]
    if (old_height, old_width) == (height, width):
        return values
    rows = (
        ((torch.arange(height, device=values.device) + 0.5) * (old_height / height)).long().clamp_(max=old_height - 1)
    )
    columns = ((torch.arange(width, device=values.device) + 0.5) * (old_width / width)).long().clamp_(max=old_width - 1)
    return values[:, rows][:, :, columns]
