"""The text chunks of a PNG file, without decoding a pixel.

An image that someone drops is untrusted: sizes are checked before anything is read, and compressed text is only
inflated up to a limit. Text after the pixels is found too.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from ..errors import ErrorCode, Remedy, ScumbleError

__all__ = ["TEXT_BYTES", "text_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT_BYTES = 8 * 1024 * 1024
"""Most text taken from one file, after inflating, bytes; ComfyUI's largest graphs are about a tenth of it."""

CHUNKS = 100_000
"""Most chunks looked at; a 100-megapixel image in 8 kB pieces has fewer."""

READABLE = Remedy("Use a PNG file as it was saved by Scumble, AUTOMATIC1111, Forge or ComfyUI")


def text_chunks(path: Path) -> dict[str, str]:
    """Keyword -> text of all ``tEXt``, ``zTXt`` and ``iTXt`` chunks; of repeated keywords the first.

    A file cut off in its pixels still gives the text before them. Raises ScumbleError INVALID_FIELD (field
    ``path``) for what isn't a PNG file or can't be read, and TOO_LARGE for more than ``TEXT_BYTES`` of text.
    """
    try:
        with path.open("rb") as file:
            if file.read(8) != SIGNATURE:
                raise _refused(f"{path.name} is not a PNG file")
            return _collect(file, path.name)
    except OSError as error:
        raise _refused(f"{path.name} can't be read: {error.strerror}") from error


def _refused(message: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field="path", remedy=READABLE)


def _collect(file: BinaryIO, name: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    room = TEXT_BYTES
    for _ in range(CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND" or length > 0x7FFFFFFF:
            break
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, 1)
            continue
        if length > room:
            raise _too_large(name)
        data, checksum = file.read(length), file.read(4)
        if zlib.crc32(kind + data) != int.from_bytes(checksum, "big") or len(checksum) < 4:
            raise _refused(f"{name} is damaged: its {kind.decode()} chunk has a wrong checksum")
        keyword, text = _decoded(kind, data, room, name)
        room -= len(text)
        texts.setdefault(keyword, text)
    return texts


def _too_large(name: str) -> ScumbleError:
    message = f"{name} carries more than {TEXT_BYTES // 1024**2} MiB of text"
    return ScumbleError(ErrorCode.TOO_LARGE, message, field="path", remedy=READABLE)


def _decoded(kind: bytes, data: bytes, room: int, name: str) -> tuple[str, str]:
    """Keyword and text of one chunk (PNG specification, 11.3.3)."""
    keyword, _, body = data.partition(b"\0")
    if kind == b"tEXt":
        return keyword.decode("latin-1"), body.decode("latin-1")
    if kind == b"zTXt":
        return keyword.decode("latin-1"), _inflated(body[1:], room, name).decode("latin-1")
    compressed, rest = body[:1] == b"\1", body[2:]
    text = rest.partition(b"\0")[2].partition(b"\0")[2]
    if compressed:
        text = _inflated(text, room, name)
    return keyword.decode("latin-1"), text.decode("utf-8", errors="replace")


def _inflated(data: bytes, room: int, name: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, room)
    except zlib.error as error:
        raise _refused(f"{name} is damaged: its compressed text can't be read") from error
    if inflater.unconsumed_tail:
        raise _too_large(name)
    return text
