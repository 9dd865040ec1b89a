"""Large tensors from one process to one other through memory that both map, so that the pipe carries only words.

A ring of bytes with one writer and one reader. The writer puts a blob in and says where in the pipe; the reader, who
hears of the blobs in the order they were put in, copies them out. Positions count all bytes ever put in; the reader's
own position stands in the first eight bytes, and room is whatever lies behind it. The ring's size follows it: to the
end that attaches, some systems give whole pages.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory

__all__ = ["Ring"]

_HEAD = 64
"""Bytes in front of the ring: a cache line."""

_ALIGNMENT = 64


class Ring:
    """Made by :meth:`create` in one process, opened by :meth:`attach` in another; each end has one thread at a time."""

    def __init__(self, memory: SharedMemory, unlink: Callable[[], None]) -> None:
        self._memory = memory
        self._unlink = unlink
        assert memory.buf is not None, "it was opened just now"
        self._bytes = memory.buf
        (self._size,) = struct.unpack_from("<Q", self._bytes, 8)
        self._written = 0
        self._fence = threading.Lock()

    @classmethod
    def create(cls, size: int) -> Ring:
        """size: bytes. Raises OSError where there isn't as much shared memory."""
        memory = SharedMemory(create=True, size=size + _HEAD)
        try:
            _reserve(memory)
        except OSError:
            memory.close()
            memory.unlink()
            raise
        assert memory.buf is not None, "it was made just now"
        struct.pack_into("<QQ", memory.buf, 0, 0, size)
        return cls(memory, memory.unlink)

    @classmethod
    def attach(cls, name: str) -> Ring:
        """Raises FileNotFoundError if its maker has closed it."""
        return cls(SharedMemory(name), lambda: None)

    @property
    def name(self) -> str:
        return self._memory.name

    def put(self, blob: memoryview) -> int | None:
        """Where ``blob`` (bytes, not empty) lies from now on, or None if there is no room: never waits."""
        begin = self._written + -self._written % _ALIGNMENT
        if begin % self._size + len(blob) > self._size:
            begin += -begin % self._size  # a blob doesn't wrap around
        if begin + len(blob) - self._read_so_far() > self._size:
            return None
        start = _HEAD + begin % self._size
        self._bytes[start : start + len(blob)] = blob
        self._written = begin + len(blob)
        return begin

    def take(self, position: int, blob: memoryview) -> None:
        """Fill ``blob`` with what was put at ``position``, and leave its room, and all before it, to the writer."""
        start = _HEAD + position % self._size
        blob[:] = self._bytes[start : start + len(blob)]
        with self._fence:  # the copy is done before the writer can see that it is
            struct.pack_into("<Q", self._bytes, 0, position + len(blob))

    def close(self) -> None:
        self._bytes.release()
        self._memory.close()
        with contextlib.suppress(FileNotFoundError):
            self._unlink()

    def _read_so_far(self) -> int:
        (position,) = struct.unpack_from("<Q", self._bytes, 0)
        return int(position)


def _reserve(memory: SharedMemory) -> None:
    """Where shared memory is a small file system (containers), find out now that it is full and not by a SIGBUS."""
    path = f"/dev/shm/{memory.name}"
    if hasattr(os, "posix_fallocate") and os.path.exists(path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, memory.size)
        finally:
            os.close(descriptor)
