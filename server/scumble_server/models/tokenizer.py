"""CLIP tokenizers: the byte-pair files of one, and learning a small one from a list of words. Pure Python.

A CLIP tokenizer is a list of merges, from which its vocabulary follows: 256 byte symbols, the same at the end of a
word, one entry per merge, and the two marks for start and end of the text.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

__all__ = ["END", "START", "clip_tokenizer_tables", "learn_merges", "vocabulary", "write_tokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


CLIP_MERGES = Path(__file__).parent / "configs" / "clip_merges.txt.gz"
"""The merges of OpenAI's CLIP (MIT licence), one a line."""


def clip_tokenizer_tables() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of the tokenizer all Stable Diffusion 1.x models share."""
    with gzip.open(CLIP_MERGES, "rt", encoding="utf-8") as file:
        merges = [(a, b) for a, b in (line.split() for line in file)]
    return vocabulary(merges), merges


def byte_symbols() -> list[str]:
    """One printable character per byte value, in the order GPT-2 and CLIP number them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Token -> id, as CLIP orders them."""
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + WORD_END for symbol in symbols), *(a + b for a, b in merges), START, END]
    return {token: index for index, token in enumerate(tokens)}


def learn_merges(words: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The ``count`` most useful merges for lower-case ASCII ``words`` (fewer if all words are whole before that).

    Ties go to the pair that is first in alphabetical order, so that the result doesn't depend on the words' order.
    """
    spelled = Counter((*word[:-1], word[-1] + WORD_END) for word in words)
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, frequency in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += frequency
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged: Counter[tuple[str, ...]] = Counter()
        for parts, frequency in spelled.items():
            merged[_merge(parts, best)] += frequency
        spelled = merged
    return merges


def write_tokenizer(folder: Path, merges: Sequence[tuple[str, str]]) -> int:
    """Write the files ``CLIPTokenizer.from_pretrained(folder)`` reads; returns the size of the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = vocabulary(merges)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return len(vocab)


def _merge(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return tuple(result)
