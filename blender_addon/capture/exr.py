"""Reads the one kind of OpenEXR file Scumble lets Blender write: uncompressed float32 scanlines, one part.

Blender's Python has no OpenEXR, and loading passes as an image datablock would touch the file that is open.
Format: https://openexr.com/en/latest/OpenEXRFileLayout.html
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_exr"]

_MAGIC = 20000630
_FLOAT = 2
_MULTIPART = 0x1000
_TILED = 0x200


def read_exr(path: Path) -> dict[str, NDArray[np.float32]]:
    """All channels by name, each (height, width) float32, top row first.

    Raises ValueError for any other kind of file, truncated ones included.
    """
    data = path.read_bytes()
    try:
        return _channels(data)
    except (struct.error, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"{path.name} is no complete EXR file") from error


def _channels(data: bytes) -> dict[str, NDArray[np.float32]]:
    magic, version = struct.unpack_from("<2I", data)
    if magic != _MAGIC or version & (_MULTIPART | _TILED):
        raise ValueError("not a single-part scanline EXR file")
    header, position = _header(data)
    names = _channel_names(header["channels"])
    if header["compression"] != b"\0":
        raise ValueError("compressed EXR files aren't read")
    left, top, right, bottom = struct.unpack("<4i", header["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    if width < 1 or height < 1 or 4 * width * height * len(names) > len(data):
        raise ValueError("the file is shorter than its pictures")
    offsets = struct.unpack_from(f"<{height}Q", data, position)
    rows = np.zeros((height, len(names), width), np.float32)
    for offset in offsets:
        y, size = struct.unpack_from("<iI", data, offset)
        if size != rows[0].nbytes or not 0 <= y - top < height:
            raise ValueError("a scanline has the wrong size or place")
        line = np.frombuffer(data, "<f4", len(names) * width, offset + 8)
        rows[y - top] = line.reshape(len(names), width)
    return {name: rows[:, index] for index, name in enumerate(names)}


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    """Raw attribute values by name, and where the header ends."""
    attributes, position = {}, 8
    while data[position]:
        name, position = _text(data, position)
        _kind, position = _text(data, position)
        (size,) = struct.unpack_from("<I", data, position)
        attributes[name] = data[position + 4 : position + 4 + size]
        position += 4 + size
    return attributes, position + 1


def _channel_names(table: bytes) -> list[str]:
    names, position = [], 0
    while table[position]:
        name, position = _text(table, position)
        (kind,) = struct.unpack_from("<i", table, position)
        if kind != _FLOAT:
            raise ValueError(f"channel {name} isn't float32")
        names.append(name)
        position += 16
    return names


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.index(b"\0", position)
    return data[position:end].decode("utf-8"), end + 1
