"""A tensor is the only kind of binary payload: an array with a dtype, a shape and a name, mostly a content address.

Images are tensors too (uint8, H x W x channels, display-referred sRGB, top row first). How bytes are
compressed on the wire never changes the address.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "AnyArray", "Digest", "digest_of", "is_digest", "is_one_off"]

AnyArray = NDArray[Any]

Digest = str
"""Name of a tensor: its content address, 64 lower-case hex digits, or a one-off name (:func:`is_one_off`)."""

DTYPES = ("uint8", "uint16", "int32", "float16", "float32")
"""Allowed element types; little-endian on the wire."""


_ADDRESS = re.compile(r"[0-9a-f]{64}")
_ONE_OFF = re.compile(r"once:[0-9a-f]{32}:[0-9]{1,18}")


def is_digest(name: str) -> bool:
    """Whether it has the form of a tensor's name, of either kind."""
    return _ADDRESS.fullmatch(name) is not None or is_one_off(name)


def is_one_off(name: str) -> bool:
    """Whether ``name`` says nothing of the content: "once:", 32 random hex digits, ":", a number.

    Whoever makes the tensor makes the name, and never gives it to another one. It spares both ends the hashing of what
    no later job will name again, as live mode's buffers; the server forgets the tensor with the last job that names it.
    """
    return _ONE_OFF.fullmatch(name) is not None


def digest_of(array: AnyArray) -> Digest:
    """SHA-256 over dtype, shape and the C-ordered little-endian bytes of ``array``."""
    if array.dtype.name not in DTYPES:
        raise ValueError(f"dtype {array.dtype.name} can't travel; use one of {', '.join(DTYPES)}")
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    header = f"{array.dtype.name}:{','.join(map(str, array.shape))}:".encode()
    sha = hashlib.sha256(header)
    sha.update(data.data.cast("B") if data.size else b"")
    return sha.hexdigest()
