"""A1111's prompt syntax, parsed: (word) [word] (word:1.3) \\( BREAK. Text in, weighted pieces out; no model here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["Piece", "parse"]

STRONGER = 1.1
"""What one pair of round brackets multiplies attention by; square ones divide by it."""
MAX_WEIGHT = 10.0
LOG_MAX = math.log(MAX_WEIGHT)

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
    No text gives no pieces. Time is linear in the length.
    """
    texts: list[str] = []
    spans: list[tuple[int, int, float]] = []  # from text, up to text, factor
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        spans.append((opened[bracket].pop(), len(texts), factor))

    for match in TOKEN.finditer(prompt):
        token, weight = match.group(0), match.group(1)
        if weight is not None and opened["("]:
            close("(", min(float(weight), MAX_WEIGHT))
        elif token in opened:
            opened[token].append(len(texts))
        elif token == ")" and opened["("]:
            close("(", STRONGER)
        elif token == "]" and opened["["]:
            close("[", 1.0 / STRONGER)
        else:
            is_escape = len(token) == 2 and token[0] == "\\"
            texts.append(token[1] if is_escape else token)
    for bracket, factor in (("(", STRONGER), ("[", 1.0 / STRONGER)):
        while opened[bracket]:
            close(bracket, factor)
    return _join(texts, _weights(spans, len(texts)))


def _weights(spans: list[tuple[int, int, float]], count: int) -> list[float]:
    """The product of all spans over each text, as running sums of logarithms."""
    logarithms, zeros = [0.0] * (count + 1), [0] * (count + 1)
    for start, end, factor in spans:
        if factor > 0.0:
            logarithms[start] += math.log(factor)
            logarithms[end] -= math.log(factor)
        else:
            zeros[start] += 1
            zeros[end] -= 1
    totals = zip(accumulate(logarithms), accumulate(zeros), strict=True)
    return [0.0 if nothing else round(math.exp(min(total, LOG_MAX)), 6) for total, nothing in totals][:count]


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
                pieces.append(Piece(text, weight, starts_chunk=number > 0))
    return tuple(pieces)
