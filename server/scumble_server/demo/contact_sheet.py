"""Lays pictures out in captioned rows on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Picture", "Row", "contact_sheet"]

BACKGROUND = (29, 29, 31)
INK = (236, 236, 238)
FAINT = (158, 158, 164)
MARGIN = 24
GAP = 12
CAPTION = 24


@dataclass(frozen=True, slots=True)
class Picture:
    path: Path
    caption: str


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures of one row are scaled to fill the sheet's width at equal height."""

    title: str
    pictures: Sequence[Picture]


def contact_sheet(title: str, subtitle: str, rows: Sequence[Row], width: int = 1600) -> Image.Image:
    """Rows without pictures are left out. Returns an RGB image ``width`` pixels wide."""
    laid_out = [(row, *_scaled(row, width - 2 * MARGIN)) for row in rows if row.pictures]
    height = MARGIN + 84 + sum(34 + row_height + CAPTION + GAP for _, row_height, _ in laid_out) + MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, INK, ImageFont.load_default(34))
    draw.text((MARGIN, MARGIN + 40), subtitle, FAINT, ImageFont.load_default(18))
    y = MARGIN + 84
    for row, row_height, images in laid_out:
        draw.text((MARGIN, y), row.title, INK, ImageFont.load_default(20))
        y += 34
        x = MARGIN
        for picture, image in zip(row.pictures, images, strict=True):
            sheet.paste(image, (x, y))
            draw.text((x, y + row_height + 3), picture.caption, FAINT, ImageFont.load_default(15))
            x += image.width + GAP
        y += row_height + CAPTION + GAP
    return sheet


def _scaled(row: Row, width: int) -> tuple[int, list[Image.Image]]:
    originals = [Image.open(picture.path, formats=("PNG",)).convert("RGB") for picture in row.pictures]
    aspects = sum(image.width / image.height for image in originals)
    tallest = 520
    height = min(tallest, int((width - GAP * (len(originals) - 1)) / aspects))
    return height, [
        image.resize((round(height * image.width / image.height), height), Image.Resampling.LANCZOS)
        for image in originals
    ]
