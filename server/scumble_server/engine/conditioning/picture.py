"""Controls made of colours alone: what ControlNets of the kinds "tile" and "color" are shown of a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .pixels import resize_smooth

__all__ = ["BLOCK", "color_image", "tile_image"]

BLOCK = 64
"""Side of a square of one colour, pixels of the result, as the colour grids are that T2I's adapter was trained on."""


def tile_image(picture: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
    """The picture itself, which a tile ControlNet keeps to while it adds detail.

    picture: float B x 3 x H x W in [0, 1], sRGB. size: (width, height) of the result, None for the picture's.
    Returns float32 B x 3 x H x W.
    """
    return resize_smooth(picture.float(), *(size or picture.shape[:1:-1]))


def color_image(picture: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
    """The mean colour of each square of :data:`BLOCK` pixels, hard at the borders; squares at the right and lower edge
    are as large as is left. Means are of display-referred values, as trained.

    Arguments and result as for :func:`tile_image`.
    """
    wanted = tile_image(picture, size)
    height, width = wanted.shape[-2:]
    # Not counting what is added, so that squares cut off by the edge keep their own mean.
    grown = F.pad(wanted, (0, -width % BLOCK, 0, -height % BLOCK))
    share = F.pad(torch.ones_like(wanted[:1, :1]), (0, -width % BLOCK, 0, -height % BLOCK))
    means = F.avg_pool2d(grown, BLOCK) / F.avg_pool2d(share, BLOCK)
    return F.interpolate(means, scale_factor=float(BLOCK), mode="nearest")[..., :height, :width]
