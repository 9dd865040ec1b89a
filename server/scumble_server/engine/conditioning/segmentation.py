"""Segmentation as ``control_v11p_sd15_seg`` knows it: flat ADE20K colours.

Objects that are said to be something have its colour. An object id alone says which pixels belong together, not what
they are: such objects take colours of ADE20K's free-standing things in turn, and what no ray hits that of its sky.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scumble_shared.ade20k import COLOURS
from scumble_shared.job import Label

from .pixels import resize_nearest

__all__ = ["BACKGROUND", "OBJECTS", "segmentation_image"]

BACKGROUND = COLOURS["sky"]
OBJECTS = tuple(
    COLOURS[kind]
    for kind in (
        "chair",
        "table",
        "car",
        "cabinet",
        "plant",
        "sofa",
        "person",
        "house",
        "bed",
        "shelf",
        "door",
        "painting",
        "mirror",
        "curtain",
        "armchair",
        "fence",
    )
)


def segmentation_image(
    object_id: torch.Tensor, size: tuple[int, int] | None = None, labels: Sequence[Label] = ()
) -> torch.Tensor:
    """Object ids -> control image. Colours are never mixed: resizing takes the nearest pixel.

    object_id: B x H x W, integers, 0 is background; id ``n`` has its label's colour, without a label
    ``OBJECTS[(n - 1) % len(OBJECTS)]``. size: (width, height) of the result, None for the input's.
    Returns float32 B x 3 x H x W in [0, 1].
    """
    ids = object_id.long()
    if size is not None:
        ids = resize_nearest(ids, *size)
    told: Mapping[int, str] = {label.object_id: label.kind for label in labels}
    found, place = torch.unique(ids, return_inverse=True)
    colours = torch.tensor([_colour(number, told) for number in found.tolist()], dtype=torch.float32, device=ids.device)
    return (colours / 255.0)[place].permute(0, 3, 1, 2)


def _colour(number: int, told: Mapping[int, str]) -> tuple[int, int, int]:
    if number <= 0:
        return BACKGROUND
    return COLOURS[told[number]] if number in told else OBJECTS[(number - 1) % len(OBJECTS)]
