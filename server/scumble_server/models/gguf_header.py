"""Reading and checking the header of a .gguf file by hand: which tensors are in it, without loading any of them.

Format (version 2 and 3, little-endian): "GGUF", version, number of tensors, number of facts; the facts; per tensor its
name, its sides (the fastest first, unlike in torch), its type and where it begins; then, aligned, the tensors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from .safetensors_header import BadFileError, TensorEntry

__all__ = ["read_gguf_header"]

TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}  # fmt: skip
"""Those that diffusers can unpack: name, numbers in a block, bytes of a block."""

SCALARS: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a fact -> bytes."""

STRING, ARRAY = 8, 9
MAX_COUNT = 100_000
MAX_NAME = 1_000
MAX_TEXT = 100_000_000
"""Bytes of a fact; tokenizers are the longest."""
MAX_SIDES = 4


def read_gguf_header(path: Path) -> Mapping[str, TensorEntry]:
    """Name -> type and shape, as torch has it, of every tensor. Raises BadFileError if the file isn't sound."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise BadFileError("the file is empty; download it again")
            return _header(file, size)
    except OSError as error:
        raise BadFileError(f"can't be read: {error.strerror}") from error


def _header(file: BinaryIO, size: int) -> Mapping[str, TensorEntry]:
    if file.read(4) != b"GGUF":
        raise BadFileError("not a .gguf file, whatever its name says")
    (version,) = _numbers(file, "<I")
    if version not in (2, 3):
        raise BadFileError(f"a .gguf file of version {version}, which isn't known")
    tensors, facts = _numbers(file, "<QQ")
    if max(tensors, facts) > MAX_COUNT:
        raise BadFileError("its header makes no sense; the file is damaged")
    alignment = 32
    for _ in range(facts):
        name, (kind,) = _text(file, MAX_NAME), _numbers(file, "<I")
        if name == "general.alignment" and kind == 4:
            (alignment,) = _numbers(file, "<I")
        else:
            _skip(file, kind)
    entries: dict[str, TensorEntry] = {}
    end = 0
    for _ in range(tensors):
        name, entry, start, length = _tensor(file)
        entries[name] = entry
        end = max(end, start + length)
    begin = -(-file.tell() // max(1, alignment)) * max(1, alignment)
    if begin + end > size:
        raise BadFileError(f"the download was cut off: {(begin + end - size) / 1e6:.1f} MB are missing")
    return entries


def _tensor(file: BinaryIO) -> tuple[str, TensorEntry, int, int]:
    """Name, entry, and where its bytes begin and how many there are."""
    name, (count,) = _text(file, MAX_NAME), _numbers(file, "<I")
    if not 0 < count <= MAX_SIDES:
        raise BadFileError(f"its header makes no sense at {name[:80]!r}; the file is damaged")
    sides = _numbers(file, f"<{count}Q")
    kind, start = _numbers(file, "<IQ")
    if kind not in TYPES:
        raise BadFileError(f"it is quantized in a way that isn't known (type {kind}); Q4_0 to Q8_0 and K types are")
    dtype, block, bytes_each = TYPES[kind]
    if math.prod(sides) % block:
        raise BadFileError(f"its header makes no sense at {name[:80]!r}; the file is damaged")
    return name, TensorEntry(dtype, tuple(reversed(sides))), start, math.prod(sides) // block * bytes_each


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == STRING:
        _text(file, MAX_TEXT)
        return
    if kind != ARRAY:
        _read(file, _bytes_of(kind))
        return
    (inner,) = _numbers(file, "<I")
    (count,) = _numbers(file, "<Q")
    if inner == STRING:
        for _ in range(min(count, MAX_TEXT)):
            _text(file, MAX_TEXT)
        return
    length = count * _bytes_of(inner)
    if length > MAX_TEXT:
        raise BadFileError("its header makes no sense; the file is damaged")
    _read(file, length)


def _bytes_of(kind: int) -> int:
    if kind not in SCALARS:
        raise BadFileError("its header makes no sense; the file is damaged")
    return SCALARS[kind]


def _text(file: BinaryIO, most: int) -> str:
    (length,) = _numbers(file, "<Q")
    if length > most:
        raise BadFileError("its header makes no sense; the file is damaged")
    return _read(file, length).decode("utf-8", "replace")


def _numbers(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _read(file, struct.calcsize(form)))


def _read(file: BinaryIO, length: int) -> bytes:
    found = file.read(length)
    if len(found) < length:
        raise BadFileError("the file ends within its header; the download was cut off")
    return found
