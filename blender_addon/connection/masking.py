"""Large frames out of Blender without waiting for Python: numpy masks them.

A websocket's client masks what it sends, four bytes repeated. The extension carries websockets without its compiled
part, which takes three milliseconds for each megabyte; numpy takes a tenth of one. Header and content go out as they
are, and aren't copied into one another.
"""

from __future__ import annotations

import secrets
import struct
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol
from websockets.sync.client import ClientConnection

__all__ = ["LARGE", "QuickConnection", "mask_with_numpy", "masked"]

LARGE = 65536
"""Bytes from which this pays; also from which a frame's length takes eight bytes."""


class QuickConnection(ClientConnection):
    """For ``create_connection`` of websockets: the same on the wire."""

    def __init__(self, socket: Any, protocol: Protocol, **options: Any) -> None:
        mask_with_numpy(protocol)
        super().__init__(socket, protocol, **options)


def mask_with_numpy(protocol: Protocol) -> None:
    """Has a client's protocol send large frames so."""
    protocol.send_frame = partial(_send_frame, protocol, protocol.send_frame)


def _send_frame(protocol: Protocol, send_otherwise: Any, frame: Frame) -> None:
    if frame.opcode is not Opcode.BINARY or len(frame.data) < LARGE or protocol.extensions:
        send_otherwise(frame)
        return
    mask = secrets.token_bytes(4)
    head = struct.pack("!BBQ", 0x80 * frame.fin | frame.opcode, 0x80 | 127, len(frame.data))
    protocol.writes += [head + mask, masked(frame.data, mask).data]


def masked(data: bytes | bytearray | memoryview, mask: bytes) -> NDArray[np.uint8]:
    """``data`` with ``mask`` (4 bytes) over each four of its bytes."""
    given = np.frombuffer(data, np.uint8)
    result = np.zeros(len(given), np.uint8)
    whole = len(given) // 4 * 4
    words = result[:whole].view(np.uint32)
    np.bitwise_xor(given[:whole].view(np.uint32), np.frombuffer(mask, np.uint32), out=words)
    result[whole:] = given[whole:] ^ np.frombuffer(mask[: len(given) - whole], np.uint8)
    return result
