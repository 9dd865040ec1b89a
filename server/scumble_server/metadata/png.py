"""PNG files that say how they were made."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.metadata import CHUNK, PARAMETERS, infotext, record
from scumble_shared.tensor import AnyArray

__all__ = ["deep_png_bytes", "png_bytes"]

COLOR_TYPES = {3: 2, 4: 6}
"""Channels -> the format's number for them."""


def png_bytes(image: AnyArray, job: GenerateJob, provenance: str = "{}", *, index: int = 0) -> bytes:
    """``image`` (uint8 H x W x 3, sRGB, top row first) as a PNG file that carries the job that made it.

    provenance: JSON object, as in a result. index: which image of the job's batch this is.
    Chunks: ``scumble`` with the whole job, and A1111's ``parameters``, which ComfyUI reads too.
    Raises ScumbleError INVALID_FIELD for an array or provenance of another kind, or a job that can't be JSON.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        message = f"expected a uint8 image H x W x 3, got {image.dtype} {image.shape}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="image")
    own = record(job, provenance, index)
    info = PngInfo()
    info.add_text(PARAMETERS, infotext(job, index=index, version=__version__))
    info.add_text(CHUNK, own)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def deep_png_bytes(image: AnyArray, text: str) -> bytes:
    """``image`` (uint8 or uint16 H x W x 3 or 4, sRGB, top row first) as a PNG file with ``text`` in its own chunk.

    Written here because Pillow doesn't write 16 bits of colour.
    """
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * image.itemsize, COLOR_TYPES[channels], 0, 0, 0)
    rows = np.ascontiguousarray(image, image.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    chunks = [
        _chunk(b"IHDR", header),
        _chunk(b"sRGB", b"\0"),
        _chunk(b"iTXt", CHUNK.encode("latin-1") + b"\0\0\0\0\0" + text.encode()),
        _chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
