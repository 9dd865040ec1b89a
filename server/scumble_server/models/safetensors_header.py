"""Reading and checking the header of a .safetensors file by hand: what is in it, without loading any of it.

Format: 8 bytes little-endian length of the header, the header as JSON, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BadFileError", "TensorEntry", "read_header", "read_metadata"]

MAX_HEADER = 100_000_000
"""Bytes; the limit the safetensors library has too."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


class BadFileError(Exception):
    """The file can't be used; the message says why, in words for its owner."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> Mapping[str, TensorEntry]:
    """Name -> dtype and shape of every tensor in the file. Raises BadFileError if it isn't whole and sound."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if size == 0:
                raise BadFileError("the file is empty; download it again")
            if len(prefix) < 8:
                raise BadFileError("too short to be a .safetensors file; download it again")
            length = int.from_bytes(prefix, "little")
            if prefix[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
                raise BadFileError("this is a pickle checkpoint under another name; such files can run code")
            if length > MAX_HEADER:
                raise BadFileError("not a .safetensors file, whatever its name says")
            if 8 + length > size:
                raise BadFileError("the file ends within its header; the download was cut off")
            text = file.read(length)
    except OSError as error:
        raise BadFileError(f"can't be read: {error.strerror}") from error
    return _check(_parse(text), size - 8 - length)


def read_metadata(path: Path) -> Mapping[str, str]:
    """What a file, whose header was read before, says of itself; {} if nothing."""
    with path.open("rb") as file:
        text = file.read(int.from_bytes(file.read(8), "little"))
    said = json.loads(text).get("__metadata__")
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _parse(text: bytes) -> dict[str, object]:
    try:
        header = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadFileError("not a .safetensors file: its header isn't readable") from error
    if not isinstance(header, dict):
        raise BadFileError("not a .safetensors file: its header isn't a table")
    header.pop("__metadata__", None)
    return header


def _check(header: Mapping[str, object], data_size: int) -> Mapping[str, TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int]] = []
    for name, value in header.items():
        entry, span = _entry(name, value)
        entries[name] = entry
        spans.append(span)
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise BadFileError("its tensors overlap or leave gaps; the file is damaged")
        position = end
    if position > data_size:
        missing = (position - data_size) / 1e6
        raise BadFileError(f"the download was cut off: {missing:.1f} MB are missing")
    if position < data_size:
        raise BadFileError("there is more in the file than its header says; it is damaged")
    return entries


def _entry(name: str, value: object) -> tuple[TensorEntry, tuple[int, int]]:
    damaged = BadFileError(f"its header makes no sense at {name[:80]!r}; the file is damaged")
    if not isinstance(value, dict):
        raise damaged
    dtype, shape, span = value.get("dtype"), _naturals(value.get("shape")), _naturals(value.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or span is None or len(span) != 2:
        raise damaged
    if dtype in BITS and math.prod(shape) * BITS[dtype] != (span[1] - span[0]) * 8:
        raise damaged
    return TensorEntry(dtype, shape), (span[0], span[1])


def _naturals(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    return None
