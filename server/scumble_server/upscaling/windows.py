"""A plane in overlapping windows: cut apart to be worked on a few at a time, and blended together again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Blend", "Windows", "cover"]


@dataclass(frozen=True, slots=True)
class Windows:
    """height, width: of the plane. rows, columns: of a window. tops, lefts: where windows begin; those that reach over
    an edge of the plane go on at the opposite one. fade: rows and columns over which neighbours fade into each other.
    """

    height: int
    width: int
    rows: int
    columns: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    fade: tuple[int, int]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def scaled(self, factor: int) -> Windows:
        """The same windows on a plane with ``factor`` times as many rows and columns."""
        return Windows(
            self.height * factor,
            self.width * factor,
            self.rows * factor,
            self.columns * factor,
            tuple(top * factor for top in self.tops),
            tuple(left * factor for left in self.lefts),
            (self.fade[0] * factor, self.fade[1] * factor),
        )

    def window(self, plane: Tensor, index: int) -> Tensor:
        """B x C x height x width -> B x C x rows x columns."""
        rows, columns = self._places(index, plane.device)
        return plane[:, :, rows][:, :, :, columns]

    def split(self, plane: Tensor) -> Tensor:
        """1 x C x height x width -> N x C x rows x columns, row by row of windows."""
        return torch.cat([self.window(plane, index) for index in range(len(self))])

    def merge(self, parts: Tensor) -> Tensor:
        """N x C x rows x columns -> 1 x C x height x width, the weighted mean where windows overlap."""
        blend = Blend(self, parts.shape[1], parts.device)
        for index in range(len(self)):
            blend.add(index, parts[index : index + 1])
        return blend.result()

    def _places(self, index: int, device: torch.device) -> tuple[Tensor, Tensor]:
        top, left = self.tops[index // len(self.lefts)], self.lefts[index % len(self.lefts)]
        rows = (torch.arange(self.rows, device=device) + top) % self.height
        columns = (torch.arange(self.columns, device=device) + left) % self.width
        return rows, columns

    def weight(self, device: torch.device) -> Tensor:
        """Of the places of a window, rows x columns, float32: 1 inside, next to nothing at its edges."""
        down = _fading(self.rows, self.fade[0], device)
        return down[:, None] * _fading(self.columns, self.fade[1], device)


class Blend:
    """Puts windows together as they come, so that only one of them need be there at a time."""

    def __init__(self, wins: Windows, channels: int, device: torch.device) -> None:
        self._windows = wins
        self._weight = wins.weight(device)
        self._sum = torch.zeros(1, channels, wins.height, wins.width, device=device)
        self._total = torch.zeros(wins.height, wins.width, device=device)

    def add(self, index: int, part: Tensor) -> None:
        """part: 1 x C x rows x columns, of window number ``index``."""
        rows, columns = self._windows._places(index, self._sum.device)
        self._sum[:, :, rows[:, None], columns] += part.float() * self._weight
        self._total[rows[:, None], columns] += self._weight

    def result(self) -> Tensor:
        """1 x C x height x width, once all were added."""
        return self._sum / self._total


def cover(height: int, width: int, side: int, overlap: int, tiling: str = "", *, multiple: int = 1) -> Windows:
    """Windows of about ``side`` x ``side`` that cover a plane, overlapping by ``overlap`` at least.

    tiling: directions in which the plane repeats; there windows reach round its edge, so that none of them ends at it.
    multiple: of which sides of windows are made, where the plane has room.
    """
    side = max(multiple, -(-side // multiple) * multiple)
    overlap = min(overlap, side // 2)
    rows, tops, fade_rows = _along(height, side, overlap, "y" in tiling)
    columns, lefts, fade_columns = _along(width, side, overlap, "x" in tiling)
    return Windows(height, width, rows, columns, tops, lefts, (fade_rows, fade_columns))


def _along(length: int, side: int, overlap: int, repeats: bool) -> tuple[int, tuple[int, ...], int]:
    """Length of a window, where windows begin, and over how much they fade."""
    size = min(side, length)
    if repeats:
        count = max(2, -(-length // (size - min(overlap, size // 2))))
        return size, tuple(index * length // count for index in range(count)), max(overlap, size // 4)
    if size == length:
        return size, (0,), 0
    count = -(-(length - overlap) // (size - overlap))
    return size, tuple(index * (length - size) // (count - 1) for index in range(count)), overlap


def _fading(length: int, fade: int, device: torch.device) -> Tensor:
    place = torch.arange(length, device=device, dtype=torch.float32)
    return torch.minimum(place + 1.0, length - place).div_(fade + 1.0).clamp_(max=1.0)
