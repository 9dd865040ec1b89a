"""Screenshots looked at coarsely: block by block, in mean colours, so that fonts and drivers don't matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["cut_out", "difference", "shown_difference"]

BLOCKS = 64, 40
"""Across and down a screenshot."""

PICTURE_BLOCKS = 16, 16
FINE = 512
"""Side to which a picture and its place on the screen are brought, pixels."""


def difference(one: Path, other: Path) -> float:
    """Part of the blocks that differ by more than a little, in [0, 1]."""
    first, second = (_blocks(Image.open(path), BLOCKS) for path in (one, other))
    return float((np.abs(first - second).max(axis=2) > 12.0).mean())


def cut_out(screenshot: Path, box: Sequence[float]) -> None:
    """Beside it, the part of it in ``box``: left, top, right, bottom."""
    cut = Image.open(screenshot).convert("RGB").crop(tuple(round(value) for value in box))
    cut.save(screenshot.with_stem(f"{screenshot.stem}_panels"))


def shown_difference(folder: Path, name: str, about: dict[str, list[float]]) -> float:
    """How far what the screen shows is from the picture that it should show: mean over the blocks, of 255.

    about: as ``Stage.note_picture`` left it: the picture's place on the screen, and the part of the viewport that
    nothing covers.
    """
    left, top, right, bottom = about["place"]
    free_left, free_top, free_right, free_bottom = about["uncovered"]
    screen = Image.open(folder / f"{name}.png").convert("RGB")
    wanted = Image.fromarray(np.load(folder / f"{name}.npy")).resize((FINE, FINE), Image.Resampling.BILINEAR)
    box = max(left, free_left), max(top, free_top), min(right, free_right), min(bottom, free_bottom)
    seen = screen.crop(tuple(round(value) for value in box))
    across, down = FINE / (right - left), FINE / (bottom - top)
    part = (box[0] - left) * across, (box[1] - top) * down, (box[2] - left) * across, (box[3] - top) * down
    wanted = wanted.crop(tuple(round(value) for value in part))
    return float(np.abs(_blocks(seen, PICTURE_BLOCKS) - _blocks(wanted, PICTURE_BLOCKS)).mean())


def _blocks(image: Image.Image, count: tuple[int, int]) -> NDArray[np.float64]:
    """Mean colours, rows x columns x 3."""
    return np.asarray(image.convert("RGB").resize(count, Image.Resampling.BOX), np.float64)
