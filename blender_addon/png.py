"""PNG files from arrays, written on the network thread so that packing an image costs Blender nothing."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["png_bytes"]

COLOR_TYPES = {1: 0, 3: 2, 4: 6}
COMPRESSION = 3
SUB_FILTER = 1


def png_bytes(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    text: str = "",
    keyword: str = "scumble",
    *,
    is_color: bool = True,
    parameters: str = "",
) -> bytes:
    """pixels: uint8 or uint16 H x W x (1, 3 or 4), top row first. text: kept in an iTXt chunk. is_color: sRGB, rather
    than numbers of some other kind. parameters: A1111's text."""
    height, width, channels = pixels.shape
    depth = 8 * pixels.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, COLOR_TYPES[channels], 0, 0, 0)
    step = channels * pixels.itemsize
    filtered = np.zeros((height, 1 + width * step), np.uint8)
    filtered[:, 0] = SUB_FILTER
    rows = np.ascontiguousarray(pixels, f">u{pixels.itemsize}").view(np.uint8).reshape(height, width * step)
    filtered[:, 1:] = rows
    filtered[:, 1 + step :] -= rows[:, :-step]  # wraps, as the format wants
    chunks = [_chunk(b"IHDR", header), *([_chunk(b"sRGB", b"\0")] if is_color else [])]
    for name, content in ((keyword, text), ("parameters", parameters)):
        if content:
            chunks.append(_chunk(b"iTXt", name.encode("latin-1") + b"\0\0\0\0\0" + content.encode()))
    chunks += [_chunk(b"IDAT", zlib.compress(filtered.tobytes(), COMPRESSION)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
