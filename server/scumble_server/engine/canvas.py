"""What is really generated for a picture of some size: whole latent pixels, and enough of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scumble_shared.tensor import AnyArray

from ..upscaling.resample import resample
from .pixels import pad_to, rounded_up

__all__ = ["Canvas", "canvas", "filling"]

LEAST_LATENTS = 8
"""Latent pixels per side below which UNets see nothing at their deepest level.

Strips one latent pixel wide came out as values that are no numbers, once in some hundred runs on a CPU.
"""


@dataclass(frozen=True, slots=True)
class Canvas:
    """width, height: of the picture that was asked for. size: width and height of what is generated for it. latents:
    rows and columns of that. tiling: directions in which it repeats.

    Where it repeats, a picture is stretched to the canvas and back, since a strip that is cut off would be missed at
    the seam; elsewhere it is continued by its last row and column.
    """

    width: int
    height: int
    size: tuple[int, int]
    latents: tuple[int, int]
    tiling: str = ""

    def filled(self, image: AnyArray) -> AnyArray:
        """uint8 height x width (x C) -> the size of the canvas."""
        return pad_to(self._stretched(image, *self.size), *self.size)

    def picture(self, image: AnyArray) -> AnyArray:
        """uint8 of the canvas' size -> height x width."""
        return self._stretched(image[: self._rows, : self._columns], self.width, self.height)

    @property
    def _rows(self) -> int:
        return self.size[1] if "y" in self.tiling else self.height

    @property
    def _columns(self) -> int:
        return self.size[0] if "x" in self.tiling else self.width

    def _stretched(self, image: AnyArray, width: int, height: int) -> AnyArray:
        rows = height if "y" in self.tiling else image.shape[0]
        columns = width if "x" in self.tiling else image.shape[1]
        if image.shape[:2] == (rows, columns):
            return image
        values = torch.from_numpy(np.ascontiguousarray(image)).view(*image.shape[:2], -1).permute(2, 0, 1)[None]
        stretched = resample(values.float(), rows, columns, self.tiling).round().clamp(0.0, 255.0).to(torch.uint8)
        array: AnyArray = stretched[0].permute(1, 2, 0).reshape(rows, columns, *image.shape[2:]).numpy()
        return array


def canvas(width: int, height: int, scale: int, multiple: int, stride: int, tiling: str) -> Canvas:
    """scale: image pixels per latent pixel. multiple: of which sides must be. stride: image pixels per step of the
    deepest level; where the picture repeats, each level must be whole."""
    least = LEAST_LATENTS * scale
    size = (
        max(rounded_up(least, step), rounded_up(side, step))
        for side, step in (
            (width, stride if "x" in tiling else multiple),
            (height, stride if "y" in tiling else multiple),
        )
    )
    columns, rows = size
    return Canvas(width, height, (columns, rows), (rows // scale, columns // scale), tiling)


def filling(width: int, height: int, multiple: int, tiling: str) -> Canvas:
    """For a picture that is worked on in parts, each of which is large enough; latents aren't told."""
    return Canvas(width, height, (rounded_up(width, multiple), rounded_up(height, multiple)), (0, 0), tiling)
