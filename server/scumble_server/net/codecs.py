"""Compression for clients on other machines: Zstandard for any tensor, WebP for pictures."""

from __future__ import annotations

import io
import math

import numpy as np
import zstandard
from PIL import Image
from scumble_shared.codec import Codecs
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.tensor import AnyArray

__all__ = ["EDGE_CODECS", "WebpCodec", "ZstdCodec"]

WEBP_SIDE_MAX = 16383
PREVIEW_QUALITY = 80


class ZstdCodec:
    """Zstandard of the tensor's little-endian bytes in C order."""

    def __init__(self, level: int = 1) -> None:
        self._level = level

    def suits(self, array: AnyArray) -> bool:
        return True

    def encode(self, array: AnyArray, *, lossy: bool = False) -> bytes:
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return zstandard.ZstdCompressor(level=self._level).compress(data.tobytes())

    def decode(self, data: memoryview, dtype: str, shape: tuple[int, ...]) -> AnyArray:
        expected = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            announced = zstandard.frame_content_size(data)
            if announced != expected:  # also -1, unknown: then nothing bounds what comes out
                raise _broken(f"announces {announced} bytes, {expected} are expected")
            raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=expected, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as error:
            raise _broken(f"isn't Zstandard data: {error}") from None
        if len(raw) != expected:
            raise _broken(f"{len(raw)} bytes came out, {expected} are expected")
        element = np.dtype(dtype).newbyteorder("<")
        return np.frombuffer(raw, element).reshape(shape) if raw else np.zeros(shape, element)


class WebpCodec:
    """Pictures, uint8 H x W x 3 or 4: lossless unless loss is allowed."""

    def suits(self, array: AnyArray) -> bool:
        return (
            array.dtype == np.uint8
            and array.ndim == 3
            and array.shape[2] in (3, 4)
            and min(array.shape[:2]) >= 1
            and max(array.shape[:2]) <= WEBP_SIDE_MAX
        )

    def encode(self, array: AnyArray, *, lossy: bool = False) -> bytes:
        file = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(array))
        if lossy:
            picture.save(file, "WEBP", quality=PREVIEW_QUALITY, method=0)
        else:
            # exact: colours under zero alpha are part of the tensor
            picture.save(file, "WEBP", lossless=True, quality=0, method=0, exact=True)
        return file.getvalue()

    def decode(self, data: memoryview, dtype: str, shape: tuple[int, ...]) -> AnyArray:
        if dtype != "uint8" or len(shape) != 3 or shape[2] not in (3, 4) or max(shape[:2]) > WEBP_SIDE_MAX:
            raise _broken(f"WebP can't hold {dtype} {shape}")
        try:
            with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
                if picture.size != (shape[1], shape[0]):  # before a pixel is decoded
                    raise _broken(f"is {picture.size[1]} x {picture.size[0]}, expected {shape[0]} x {shape[1]}")
                if getattr(picture, "n_frames", 1) != 1:
                    raise _broken("is an animation")
                pixels = np.asarray(picture.convert("RGB" if shape[2] == 3 else "RGBA"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
            raise _broken(f"isn't a WebP picture: {error}") from None
        return pixels


def _broken(why: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, why)


EDGE_CODECS = Codecs({"webp": WebpCodec(), "zstd": ZstdCodec()})
