"""A1111's prompt syntax, parsed: (word) [word] (word:1.3) \\( BREAK. Text in, weighted pieces out; no model here."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Piece", "parse"]

STRONGER = 1.1
"""What one pair of round brackets multiplies attention by; square ones divide by it."""
MAX_WEIGHT = 10.0
LARGE = 1e6
"""Bound while brackets are still open, so that thousands of them can't reach infinity."""

TOKEN = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|.", re.DOTALL)
BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """text: without syntax. weight: 1 is plain. starts_chunk: a BREAK stood before it."""

    text: str
    weight: float = 1.0
    starts_chunk: bool = False


def parse(prompt: str) -> tuple[Piece, ...]:
    """Brackets nest and multiply; a weight is kept within 0 to 10; what isn't closed holds to the end.

    A colon is syntax only in "(...:1.3)". Neighbouring pieces of equal weight are one, so a plain prompt is one piece.
    Time is linear in the length for brackets not nested deep; the result of no text is no pieces.
    """
    texts: list[str] = []
    weights: list[float] = []
    round_opened: list[int] = []
    square_opened: list[int] = []

    def multiply(start: int, factor: float) -> None:
        for index in range(start, len(weights)):
            weights[index] = min(weights[index] * factor, LARGE)

    for match in TOKEN.finditer(prompt):
        token, weight = match.group(0), match.group(1)
        if weight is not None and round_opened:
            multiply(round_opened.pop(), min(float(weight), MAX_WEIGHT))
        elif token == "(":
            round_opened.append(len(weights))
        elif token == "[":
            square_opened.append(len(weights))
        elif token == ")" and round_opened:
            multiply(round_opened.pop(), STRONGER)
        elif token == "]" and square_opened:
            multiply(square_opened.pop(), 1.0 / STRONGER)
        else:
            is_escape = len(token) == 2 and token[0] == "\\"
            texts.append(token[1] if is_escape else token)
            weights.append(1.0)
    for start in round_opened:
        multiply(start, STRONGER)
    for start in square_opened:
        multiply(start, 1.0 / STRONGER)
    return _join(texts, weights)


def _join(texts: list[str], weights: list[float]) -> tuple[Piece, ...]:
    """Equal neighbours as one piece, then cut at BREAK."""
    joined: list[tuple[list[str], float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if joined and joined[-1][1] == weight:
            joined[-1][0].append(text)
        else:
            joined.append(([text], weight))
    pieces: list[Piece] = []
    for parts, weight in joined:
        for number, text in enumerate(BREAK.split("".join(parts))):
            if text or number:
                pieces.append(Piece(text, min(max(weight, 0.0), MAX_WEIGHT), starts_chunk=number > 0))
    return tuple(pieces)
