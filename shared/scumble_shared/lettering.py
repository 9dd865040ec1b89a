"""Text into pictures, with numpy alone: labels of sheets look the same wherever they are made."""

from __future__ import annotations

import base64
import unicodedata
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .glyphs import CHARACTERS, DATA, HEIGHT, WIDTHS

__all__ = ["HEIGHT", "draw_text", "shortened", "text_width"]

UNKNOWN = "?"


def text_width(text: str) -> int:
    """Pixels."""
    return sum(_column(letter)[1] for letter in text)


def shortened(text: str, width: int) -> str:
    """``text`` in one line of at most ``width`` pixels, with "…" where something had to go."""
    line = " ".join(text.split())
    if text_width(line) <= width:
        return line
    while line and text_width(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def draw_text(picture: NDArray[np.uint8], x: int, y: int, text: str, color: tuple[int, int, int]) -> None:
    """Draws into ``picture`` (uint8 H x W x 3, top row first), the line's upper left corner at column x, row y.

    What doesn't fit is left out; letters lose their accents, characters that aren't known become "?".
    """
    for letter in text:
        begin, width = _column(letter)
        mask = _sheet()[:, begin : begin + width]
        place = picture[max(y, 0) : max(y + HEIGHT, 0), max(x, 0) : max(x + width, 0)]
        mask = mask[max(-y, 0) :, max(-x, 0) :][: place.shape[0], : place.shape[1], None]
        place[...] = np.rint(place * (1.0 - mask) + np.asarray(color) * mask)
        x += width


@cache
def _column(letter: str) -> tuple[int, int]:
    """First column in the sheet, and width."""
    plain = letter if letter in CHARACTERS else unicodedata.normalize("NFKD", letter)[0]
    index = CHARACTERS.find(plain if plain in CHARACTERS else UNKNOWN)
    widths = [ord(code) - 48 for code in WIDTHS[: index + 1]]
    return sum(widths[:-1]), widths[-1]


@cache
def _sheet() -> NDArray[np.float32]:
    """How much ink is where, in [0, 1]: HEIGHT x all letters side by side."""
    packed = np.frombuffer(zlib.decompress(base64.b85decode(DATA)), np.uint8).reshape(HEIGHT, -1)
    return np.stack([packed >> 4, packed & 15], axis=-1).reshape(HEIGHT, -1).astype(np.float32) / np.float32(15.0)
