"""Messages to websocket frames and back.

A message without tensors is a text frame of JSON. A message with tensors (``upload``, ``preview``, ``result``) is a
binary frame, little-endian::

    offset  size     content
    0       4        magic "SCMB"
    4       1        version of this layout, 1
    5       1        flags, 0
    6       2        n, number of blobs
    8       4        j, length of the JSON text
    12      8 * n    length of each blob
    12+8n   j        the message as JSON, UTF-8; its ``tensors[i]`` describes blob i
            ...      the blobs, each padded in front with zeros to a multiple of 8 from the start of the frame

so that a raw blob can be used where it lies. A large frame travels in *pieces*: binary frames of magic "SCMP",
version 1, three zero bytes, the length of the whole (8 bytes), then the next bytes of the whole. Text frames may be
sent between two pieces (that is how a cancel overtakes an upload), other binary frames may not.

Decoders raise :class:`ScumbleError` and nothing else (INVALID_MESSAGE, INVALID_FIELD, TOO_LARGE, UNSUPPORTED), and
look at every size before they allocate.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .errors import ErrorCode, ScumbleError
from .limits import DEFAULT_LIMITS, Limits
from .messages import ClientMessage, Preview, Result, ServerMessage, TensorInfo, Upload
from .schema import decode, dumps, loads
from .tensor import DTYPES, AnyArray, Digest

__all__ = [
    "RAW",
    "Assembler",
    "Codecs",
    "Frame",
    "Message",
    "TensorCodec",
    "check_tensor",
    "decode_binary",
    "decode_text",
    "describe",
    "encode_binary",
    "encode_frames",
    "encode_text",
]

MAGIC = b"SCMB"
PIECE_MAGIC = b"SCMP"
LAYOUT_VERSION = 1
ALIGNMENT = 8
WHOLE_BYTES = 1024 * 1024
"""Frames up to this size travel whole."""

PIECE_BYTES = 512 * 1024
"""Of a larger frame in one piece: small enough that both ends work at the same time."""

PREFIX = struct.Struct("<4sBBHI")
PIECE_PREFIX = struct.Struct("<4sB3xQ")

Message = ClientMessage | ServerMessage
MessageWithTensors = Upload | Preview | Result


class TensorCodec(Protocol):
    """One way to write a tensor's bytes. Pure functions, usable from any thread."""

    def suits(self, array: AnyArray) -> bool:
        """Whether :meth:`encode` takes this array."""

    def encode(self, array: AnyArray, *, lossy: bool = False) -> bytes:
        """lossy: pictures to look at; a codec that can't ignores it."""

    def decode(self, data: memoryview, dtype: str, shape: tuple[int, ...]) -> AnyArray:
        """Exactly an array of that dtype and shape, or ScumbleError INVALID_FIELD."""


@dataclass(frozen=True, slots=True)
class Codecs:
    """The codecs an edge can use besides "raw", by name, best first."""

    by_name: Mapping[str, TensorCodec]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.by_name, "raw")

    def choose(self, array: AnyArray, wanted: Sequence[str]) -> str:
        """The first of ``wanted`` that is known here and suits the array; "raw" if none does."""
        for name in wanted:
            if name == "raw" or (name in self.by_name and self.by_name[name].suits(array)):
                return name
        return "raw"

    def decode(self, info: TensorInfo, data: memoryview, path: str) -> AnyArray:
        codec = self.by_name.get(info.codec)
        if codec is None:
            raise ScumbleError(
                ErrorCode.UNSUPPORTED,
                f"codec {info.codec[:32]!r} isn't known here; known are {', '.join(self.names)}",
                field=f"{path}.codec",
            )
        try:
            return codec.decode(data, info.dtype, info.shape)
        except ScumbleError as error:
            raise ScumbleError(error.code, error.info.message, field=path) from None


RAW = Codecs({})
"""Nothing but raw bytes: all a client on the same machine needs."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded message and its tensors in the order of ``message.tensors``; none for a text frame.

    Raw tensors are read-only views of the received bytes.
    """

    message: Any  # of the union that was asked for
    tensors: tuple[AnyArray, ...] = ()

    def by_name(self) -> dict[str, AnyArray]:
        if not isinstance(self.message, MessageWithTensors):
            return {}
        return {info.name: array for info, array in zip(self.message.tensors, self.tensors, strict=True)}


def describe(name: str, array: AnyArray, digest: Digest = "", codec: str = "raw") -> TensorInfo:
    """How ``array`` is described in a message."""
    return TensorInfo(name, array.dtype.name, array.shape, codec, digest)


# --- text -------------------------------------------------------------------------------------------


def encode_text(message: Message) -> str:
    return dumps(message)


def decode_text(text: str, kind: Any, limits: Limits = DEFAULT_LIMITS) -> Any:
    """A text frame -> one message of the union ``kind`` (ClientMessage or ServerMessage)."""
    if len(text) > limits.text_bytes or (not text.isascii() and _utf8_length(text) > limits.text_bytes):
        raise _too_large("a text frame", limits.text_bytes)
    message = decode(kind, loads(text))
    if isinstance(message, MessageWithTensors):
        raise ScumbleError(ErrorCode.INVALID_MESSAGE, f"{message.type} is a binary frame, not a text frame")
    return message


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


# --- binary -----------------------------------------------------------------------------------------


def encode_binary(
    message: MessageWithTensors, arrays: Sequence[AnyArray], codecs: Codecs = RAW, *, lossy: bool = False
) -> bytes:
    """The whole frame. ``message.tensors[i]`` describes ``arrays[i]``; its ``codec`` says how it is written.

    lossy: allow loss where the codec has it (previews). Raises ScumbleError for a dtype that can't travel.
    """
    return b"".join(_parts_of(message, arrays, codecs, lossy))


def encode_frames(
    message: MessageWithTensors,
    arrays: Sequence[AnyArray],
    limits: Limits = DEFAULT_LIMITS,
    codecs: Codecs = RAW,
    *,
    lossy: bool = False,
) -> Iterator[bytes]:
    """What to send for a message: its frame, or the pieces of it. Arguments as for :func:`encode_binary`."""
    parts = _parts_of(message, arrays, codecs, lossy)
    total = sum(map(len, parts))
    if total <= min(WHOLE_BYTES, limits.message_bytes):
        return iter([b"".join(parts)])
    return _pieces(parts, total, min(PIECE_BYTES, limits.message_bytes) - PIECE_PREFIX.size)


def _parts_of(
    message: MessageWithTensors, arrays: Sequence[AnyArray], codecs: Codecs, lossy: bool
) -> list[bytes | memoryview]:
    blobs = []
    for info, array in zip(message.tensors, arrays, strict=True):
        if array.dtype.name not in DTYPES:
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"dtype {array.dtype.name} can't travel", field=info.name)
        if info.codec == "raw":
            contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            blobs.append(contiguous.data.cast("B") if contiguous.size else memoryview(b""))
        else:
            blobs.append(memoryview(codecs.by_name[info.codec].encode(array, lossy=lossy)))
    text = dumps(message).encode()
    prefix = PREFIX.pack(MAGIC, LAYOUT_VERSION, 0, len(blobs), len(text))
    parts: list[bytes | memoryview] = [prefix, struct.pack(f"<{len(blobs)}Q", *map(len, blobs)), text]
    position = sum(map(len, parts))
    for blob in blobs:
        padding = -position % ALIGNMENT
        parts += [bytes(padding), blob]
        position += padding + len(blob)
    return parts


def _pieces(parts: list[bytes | memoryview], total: int, size: int) -> Iterator[bytes]:
    """``parts`` in a row, cut anew into pieces of ``size`` bytes; each byte is copied once."""
    prefix = PIECE_PREFIX.pack(PIECE_MAGIC, LAYOUT_VERSION, total)
    piece: list[bytes | memoryview] = [prefix]
    room = size
    for part in parts:
        rest = memoryview(part)
        while len(rest):
            piece.append(rest[:room])
            rest, room = rest[room:], room - len(piece[-1])
            if not room:
                yield b"".join(piece)
                piece, room = [prefix], size
    if len(piece) > 1:
        yield b"".join(piece)


def decode_binary(data: bytes | memoryview, kind: Any, limits: Limits = DEFAULT_LIMITS, codecs: Codecs = RAW) -> Frame:
    """A whole binary frame -> one message of the union ``kind`` with its tensors."""
    view = memoryview(data).toreadonly()
    if len(view) > limits.transfer_bytes:
        raise _too_large("a message", limits.transfer_bytes)
    text, blobs = _take_apart(view, limits)
    message = decode(kind, loads(bytes(text)))
    if not isinstance(message, MessageWithTensors):
        raise ScumbleError(ErrorCode.INVALID_MESSAGE, f"{message.type} is a text frame, not a binary frame")
    if len(message.tensors) != len(blobs):
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"{len(message.tensors)} tensors for {len(blobs)} blobs", field="tensors"
        )
    for index, info in enumerate(message.tensors):  # all of them, before the first is unpacked
        check_tensor(info, limits, f"tensors[{index}]")
    if sum(_bytes_of(info) for info in message.tensors) > limits.transfer_bytes:
        raise _too_large("a message with its tensors unpacked", limits.transfer_bytes)
    tensors = [
        _tensor(info, blob, codecs, f"tensors[{index}]")
        for index, (info, blob) in enumerate(zip(message.tensors, blobs, strict=True))
    ]
    return Frame(message, tuple(tensors))


def check_tensor(info: TensorInfo, limits: Limits, path: str) -> None:
    """Raises ScumbleError INVALID_FIELD for an impossible dtype or shape, TOO_LARGE over a limit."""
    if info.dtype not in DTYPES:
        raise _bad(f"{path}.dtype", f"expected one of {', '.join(DTYPES)}")
    if len(info.shape) > limits.tensor_rank:
        raise _bad(f"{path}.shape", f"more than {limits.tensor_rank} dimensions")
    if any(side < 0 for side in info.shape):
        raise _bad(f"{path}.shape", "a negative side")
    if math.prod(max(side, 1) for side in info.shape) * np.dtype(info.dtype).itemsize > limits.transfer_bytes:
        raise _too_large("a tensor", limits.transfer_bytes, f"{path}.shape")


def _take_apart(view: memoryview, limits: Limits) -> tuple[memoryview, list[memoryview]]:
    if len(view) < PREFIX.size:
        raise _broken("shorter than its prefix")
    magic, version, flags, count, text_length = PREFIX.unpack_from(view)
    if magic != MAGIC:
        raise _broken("wrong magic")
    if version != LAYOUT_VERSION or flags != 0:
        raise _broken(f"layout version {version} with flags {flags} isn't known here")
    if count > limits.blobs_per_frame:
        raise ScumbleError(ErrorCode.TOO_LARGE, f"more than {limits.blobs_per_frame} blobs in a frame")
    if text_length > limits.text_bytes:
        raise _too_large("the JSON part", limits.text_bytes)
    position = PREFIX.size + 8 * count
    if len(view) < position + text_length:
        raise _broken("truncated before its blobs")
    lengths = struct.unpack_from(f"<{count}Q", view, PREFIX.size)
    text = view[position : position + text_length]
    position += text_length
    blobs = []
    for length in lengths:
        start = position + -position % ALIGNMENT
        if len(view) < start + length:
            raise _broken("truncated in a blob")
        if any(view[position:start]):
            raise _broken("padding that isn't zero")
        blobs.append(view[start : start + length])
        position = start + length
    if position != len(view):
        raise _broken("more bytes than it announces")
    return text, blobs


def _tensor(info: TensorInfo, blob: memoryview, codecs: Codecs, path: str) -> AnyArray:
    if info.codec != "raw":
        return codecs.decode(info, blob, path)
    if len(blob) != _bytes_of(info):
        raise _bad(path, f"{info.dtype} {info.shape} is {_bytes_of(info)} bytes, the blob is {len(blob)}")
    dtype = np.dtype(info.dtype).newbyteorder("<")
    if not len(blob):
        return np.zeros(info.shape, dtype)
    return np.frombuffer(blob, dtype).reshape(info.shape)


def _bytes_of(info: TensorInfo) -> int:
    return math.prod(info.shape) * np.dtype(info.dtype).itemsize


# --- pieces -----------------------------------------------------------------------------------------


class Assembler:
    """Puts the pieces of one connection together again. After an error it goes on with the next frame."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._whole = memoryview(b"")
        self._filled = 0
        self._skip = 0  # bytes still to come of a frame that was refused

    def feed(self, data: bytes) -> bytes | memoryview | None:
        """One received binary frame -> a whole frame, or None until the last piece has come.

        Raises ScumbleError INVALID_MESSAGE for pieces that don't belong together, TOO_LARGE over
        ``limits.transfer_bytes``; nothing is allocated for those.
        """
        if not data.startswith(PIECE_MAGIC):
            if self._filled:
                self._refuse(len(self._whole) - self._filled)
                raise _broken("another frame before the last piece")
            return data
        if len(data) <= PIECE_PREFIX.size:
            raise _broken("an empty piece")
        _, version, total = PIECE_PREFIX.unpack_from(data)
        if version != LAYOUT_VERSION or any(data[5:8]):
            raise _broken(f"pieces of layout version {version} aren't known here")
        content = memoryview(data)[PIECE_PREFIX.size :]
        if self._skip:
            self._skip = max(self._skip - len(content), 0)
            return None
        return self._append(content, total)

    def _append(self, content: memoryview, total: int) -> memoryview | None:
        if not self._filled:
            if total > self._limits.transfer_bytes:
                self._refuse(total - len(content))
                raise _too_large("a message", self._limits.transfer_bytes)
            self._whole = np.empty(total, np.uint8).data
        if total != len(self._whole) or self._filled + len(content) > total:
            self._refuse(0)
            raise _broken("a piece that doesn't fit those before")
        self._whole[self._filled : self._filled + len(content)] = content
        self._filled += len(content)
        if self._filled < total:
            return None
        whole = self._whole
        self._refuse(0)
        return whole

    def _refuse(self, skip: int) -> None:
        self._whole, self._filled, self._skip = memoryview(b""), 0, skip


# --- errors -----------------------------------------------------------------------------------------


def _broken(why: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_MESSAGE, f"not a binary frame of this protocol: {why}")


def _bad(path: str, why: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, why, field=path)


def _too_large(what: str, limit: int, path: str = "") -> ScumbleError:
    return ScumbleError(ErrorCode.TOO_LARGE, f"{what} is over {limit} bytes", field=path)
