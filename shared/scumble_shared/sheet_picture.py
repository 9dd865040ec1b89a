"""The pictures of a sheet side by side, with their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lettering import HEIGHT, draw_text, shortened, text_width
from .sheets import NOTHING, Axis

__all__ = ["sheet_picture"]

Picture = NDArray[np.uint8]

GAP = 6
BACKGROUND = (29, 29, 31)
INK = (236, 236, 238)
FAINT = (150, 150, 156)
NAMES_MAX = 320
"""Widest column of row names, pixels."""

IN_A_ROW = 4
"""Pictures of a sheet with one axis that stay in one row."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """labels: above each picture. names: before each row. height, width: of the largest picture."""

    pictures: list[list[Picture | None]]
    labels: list[list[str]]
    names: list[str]
    height: int
    width: int


def sheet_picture(pictures: Sequence[Sequence[Picture | None]], x: Axis, y: Axis = NOTHING, title: str = "") -> Picture:
    """All pictures on one, uint8 H x W x 3, top row first.

    pictures: by row and column, uint8 h x w x 3, of any size; None stays empty. Without a second axis more than four
    pictures are broken into about as many rows as columns.
    """
    grid = _grid(pictures, x, y)
    left = min(max(map(text_width, grid.names)), NAMES_MAX) + (2 * GAP if any(grid.names) else GAP)
    tops, bottom = _tops(grid, HEIGHT + GAP if title else 0)
    sheet = np.zeros((bottom, left + len(grid.labels[0]) * (grid.width + GAP), 3), np.uint8)
    sheet[...] = BACKGROUND
    draw_text(sheet, GAP, GAP // 2, shortened(title, sheet.shape[1] - 2 * GAP), FAINT)
    for top, row, labels, name in zip(tops, grid.pictures, grid.labels, grid.names, strict=True):
        draw_text(sheet, GAP, top + (grid.height - HEIGHT) // 2, shortened(name, NAMES_MAX), INK)
        for column, (picture, label) in enumerate(zip(row, labels, strict=True)):
            across = left + column * (grid.width + GAP)
            draw_text(sheet, across, top - HEIGHT, shortened(label, grid.width), INK)
            if picture is not None:
                sheet[top : top + picture.shape[0], across : across + picture.shape[1]] = picture[..., :3]
    return sheet


def _grid(pictures: Sequence[Sequence[Picture | None]], x: Axis, y: Axis) -> _Grid:
    labels, rows = list(x.labels()), [list(row) for row in pictures]
    if y.kind == NOTHING.kind and len(labels) > IN_A_ROW:
        columns = math.ceil(math.sqrt(len(labels)))
        empty = -len(labels) % columns
        every, said = rows[0] + [None] * empty, labels + [""] * empty
        starts = range(0, len(every), columns)
        rows, above = [every[i : i + columns] for i in starts], [said[i : i + columns] for i in starts]
    else:
        above = [labels, *([""] * len(labels) for _ in rows[1:])]
    names = list(y.labels()) if y.kind != NOTHING.kind else [""] * len(rows)
    sizes = [picture.shape for row in rows for picture in row if picture is not None] or [(64, 64)]
    return _Grid(rows, above, names, max(size[0] for size in sizes), max(size[1] for size in sizes))


def _tops(grid: _Grid, head: int) -> tuple[list[int], int]:
    """Where each row's pictures begin, and the sheet ends."""
    tops, at = [], head
    for labels in grid.labels:
        at += HEIGHT if any(labels) else 0
        tops.append(at)
        at += grid.height + GAP
    return tops, at
