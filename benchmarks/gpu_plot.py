"""Bars of milliseconds as an SVG picture."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

__all__ = ["plot"]

WIDTH, LEFT, RIGHT = 900, 210, 80
BAR, GAP, HEAD = 18, 34, 40
COLOURS = ("#9aa5b1", "#6b7a8c", "#e8743b", "#f0a46f", "#f6c9a6")


def plot(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """groups: heading -> name -> value. Each group has a scale of its own, from zero."""
    lines, top = [_text(10, 26, title, 16)], HEAD
    for heading, bars in groups.items():
        if not bars:
            continue
        largest = max(bars.values())
        top += GAP
        lines.append(_text(10, top - 8, heading, 13))
        for (name, value), colour in zip(bars.items(), COLOURS, strict=False):
            length = (WIDTH - LEFT - RIGHT) * value / largest if largest else 0.0
            lines.append(_text(20, top + BAR - 5, name, 12))
            lines.append(f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR - 4}" rx="2" fill="{colour}"/>')
            lines.append(_text(LEFT + length + 6, top + BAR - 6, f"{value:.4g}", 12))
            top += BAR
    body = "\n".join(lines)
    size = f'width="{WIDTH}" height="{top + GAP}" viewBox="0 0 {WIDTH} {top + GAP}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#22272e">{escape(text)}</text>'
