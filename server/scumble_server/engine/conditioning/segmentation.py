"""Segmentation as ``control_v11p_sd15_seg`` knows it: flat ADE20K colours.

An object id says which pixels belong together, not what they are. So objects take colours of ADE20K's free-standing
things in turn, and what no ray hits takes the colour of its sky.
"""

from __future__ import annotations

import torch

from .pixels import resize_nearest

__all__ = ["BACKGROUND", "OBJECTS", "segmentation_image"]

BACKGROUND = (6, 230, 230)
OBJECTS = (
    (204, 70, 3),  # chair
    (255, 6, 82),  # table
    (0, 102, 200),  # car
    (224, 5, 255),  # cabinet
    (204, 255, 4),  # plant
    (11, 102, 255),  # sofa
    (150, 5, 61),  # person
    (255, 9, 224),  # house
    (204, 5, 255),  # bed
    (255, 7, 71),  # shelf
    (8, 255, 51),  # door
    (255, 6, 51),  # painting
    (220, 220, 220),  # mirror
    (255, 51, 7),  # curtain
    (8, 255, 214),  # armchair
    (255, 184, 6),  # fence
)


def segmentation_image(object_id: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Object ids -> control image. Colours are never mixed: resizing takes the nearest pixel.

    object_id: B x H x W, integers, 0 is background; id ``n`` has colour ``OBJECTS[(n - 1) % len(OBJECTS)]``.
    size: (width, height) of the result, None for the input's.
    Returns float32 B x 3 x H x W in [0, 1].
    """
    ids = object_id.long()
    if size is not None:
        ids = resize_nearest(ids, *size)
    colours = torch.tensor((*OBJECTS, BACKGROUND), dtype=torch.float32, device=ids.device) / 255.0
    index = torch.where(ids > 0, (ids - 1) % len(OBJECTS), len(OBJECTS))
    return colours[index].permute(0, 3, 1, 2)
