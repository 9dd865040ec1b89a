"""Networks run on parts of a picture, each with enough around it that the parts are what the whole would have given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Network", "run_in_parts", "side_that_fits"]

LEAST_SIDE = 64
LARGEST_SIDE = 1024
BYTES_PER_PIXEL = 64 * 4 * 6
"""Of half a dozen maps of 64 channels, at the size of the result."""


@dataclass(frozen=True, slots=True)
class Network:
    """run: 1 x 3 x h x w -> 1 x 3 x scale * h x scale * w, both 0 to 1. reach: how far, in pixels, what it makes of a
    place depends on what is around it. multiple: of which it likes sides to be."""

    run: Callable[[Tensor], Tensor]
    scale: int
    reach: int
    multiple: int = 1


def side_that_fits(free_bytes: int, scale: int) -> int:
    """Side of the parts, halo included, for this much memory; a power of two."""
    pixels = free_bytes * 0.5 / (BYTES_PER_PIXEL * scale * scale)
    return int(min(max(2 ** math.floor(math.log2(max(1.0, pixels)) / 2.0), LEAST_SIDE), LARGEST_SIDE))


def run_in_parts(network: Network, image: Tensor, side: int, tiling: str, told: Callable[[int, int], None]) -> Tensor:
    """The whole picture, 1 x 3 x H x W, through the network; 1 x 3 x scale * H x scale * W.

    side: of a part without its halo; halved when memory runs out. tiling: directions in which the picture repeats.
    told: called with the parts done and all parts, before each; may raise to stop.
    """
    wraps = tuple(network.reach if axis in tiling else 0 for axis in "yx")
    around = _rolled_on(image, *wraps)
    while True:
        try:
            whole = _in_parts(network, around, side, told)
        except torch.OutOfMemoryError:
            if side <= LEAST_SIDE:
                raise
            side //= 2
            continue
        top, left = (wrap * network.scale for wrap in wraps)
        height, width = (length * network.scale for length in image.shape[2:])
        return whole[:, :, top : top + height, left : left + width]


def _rolled_on(image: Tensor, rows: int, columns: int) -> Tensor:
    """The picture with its opposite edges around it, as often as it takes."""
    for axis, count in ((2, rows), (3, columns)):
        length = image.shape[axis]
        places = torch.arange(-count, length + count, device=image.device) % length
        image = image.index_select(axis, places) if count else image
    return image


def _in_parts(network: Network, image: Tensor, side: int, told: Callable[[int, int], None]) -> Tensor:
    height, width = image.shape[2:]
    side = max(network.multiple, side // network.multiple * network.multiple)
    scale, reach = network.scale, -(-network.reach // network.multiple) * network.multiple
    result = image.new_empty(1, 3, height * scale, width * scale)
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    for done, (top, left) in enumerate(corners):
        told(done, len(corners))
        bottom, right = min(top + side, height), min(left + side, width)
        first = max(0, top - reach), max(0, left - reach)
        part = image[:, :, first[0] : bottom + reach, first[1] : right + reach]
        made = network.run(part)
        rows = slice((top - first[0]) * scale, (bottom - first[0]) * scale)
        columns = slice((left - first[1]) * scale, (right - first[1]) * scale)
        result[:, :, top * scale : bottom * scale, left * scale : right * scale] = made[:, :, rows, columns]
    return result
