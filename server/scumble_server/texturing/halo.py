"""Takes halos out of a picture: next to silhouettes, colour comes from farther inside the same surface.

A generated picture misses silhouettes by a pixel or two, so what lies right at an edge may be the colour of what is
behind it. Projected, it would paint rims. Replacing it keeps the surface painted up to its very edge.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .dilate import nearest_filled
from .visibility import ViewGeometry

__all__ = ["without_halos"]


def without_halos(image: Tensor, view: ViewGeometry) -> Tensor:
    """image: (1, C, h, w), linear. Pixels the view distrusts fade into their nearest trusted neighbour.

    Colour stays within an object's pixels (where there are no ids: within what is hit, or isn't). A part too thin to
    have a trusted pixel keeps its own.
    """
    height, width = image.shape[2:]
    border = interpolate(view.sheet[:, 1:], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    label = view.depth < torch.inf if view.object_id is None else view.object_id
    label = _resized(label.view(view.camera.height, view.camera.width).int(), height, width)
    target, source = nearest_filled(border >= 1.0, 2 * view.distrusted, label)
    pixels = image[0].flatten(1).clone()
    trust = border.flatten()[target]
    pixels[:, target] = pixels[:, target] * trust + pixels[:, source] * (1.0 - trust)
    return pixels.view_as(image)


def _resized(label: Tensor, height: int, width: int) -> Tensor:
    """Nearest neighbour, exact for labels. (h, w) -> (height, width)."""
    rows = torch.arange(height, device=label.device) * label.shape[0] // height
    columns = torch.arange(width, device=label.device) * label.shape[1] // width
    return label[rows][:, columns]
