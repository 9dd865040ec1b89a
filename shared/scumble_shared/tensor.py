"""A tensor is the only kind of binary payload: an array with a dtype, a shape and a content address.

Images are tensors too (uint8, H x W x channels, display-referred sRGB, top row first). How bytes are
compressed on the wire never changes the address.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "AnyArray", "Digest", "digest_of"]

AnyArray = NDArray[Any]

Digest = str
"""Content address of a tensor: 64 lower-case hex digits."""

DTYPES = ("uint8", "uint16", "int32", "float16", "float32")
"""Allowed element types; little-endian on the wire."""


def digest_of(array: AnyArray) -> Digest:
    """SHA-256 over dtype, shape and the C-ordered little-endian bytes of ``array``."""
    if array.dtype.name not in DTYPES:
        raise ValueError(f"dtype {array.dtype.name} can't travel; use one of {', '.join(DTYPES)}")
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    header = f"{array.dtype.name}:{','.join(map(str, array.shape))}:".encode()
    sha = hashlib.sha256(header)
    sha.update(data.data.cast("B") if data.size else b"")
    return sha.hexdigest()
