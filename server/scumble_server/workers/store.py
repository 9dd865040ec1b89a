"""Tensors by content address, in memory, within a budget: an unchanged mesh or depth map is never sent twice."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

import numpy as np
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.tensor import AnyArray, Digest, is_one_off

__all__ = ["TensorStore"]


class TensorStore:
    """Least recently used tensors leave first; pinned ones stay; those of one-off names leave when they are unpinned.
    Not thread-safe: for one event loop."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._arrays: OrderedDict[Digest, AnyArray] = OrderedDict()  # least recently used first
        self._pins: Counter[Digest] = Counter()
        self._bytes = 0
        self._pinned_bytes = 0

    @property
    def used_bytes(self) -> int:
        return self._bytes

    @property
    def pinned_bytes(self) -> int:
        return self._pinned_bytes

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._arrays

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those not stored, each once, in order of first mention. Those stored count as used now."""
        wanted = dict.fromkeys(digests)
        for digest in wanted:
            if digest in self._arrays:
                self._arrays.move_to_end(digest)
        return tuple(digest for digest in wanted if digest not in self._arrays)

    def get(self, digest: Digest) -> AnyArray:
        """Raises KeyError if it isn't stored."""
        self._arrays.move_to_end(digest)
        return self._arrays[digest]

    def put(self, digest: Digest, array: AnyArray) -> None:
        """Keep ``array`` under its address, read-only from now on.

        Raises ScumbleError TOO_LARGE if it is over the whole budget, and a retryable BUSY if tensors that
        queued jobs need leave no room for it now.
        """
        if digest in self._arrays:
            self._arrays.move_to_end(digest)
            return
        if array.nbytes > self._budget:
            raise ScumbleError(
                ErrorCode.TOO_LARGE,
                f"a tensor of {array.nbytes} bytes doesn't fit the server's store of {self._budget} bytes",
            )
        if array.nbytes > self._budget - self._pinned_bytes:
            raise ScumbleError(
                ErrorCode.BUSY,
                "the server's store is full of tensors that queued jobs need",
                retryable=True,
                remedy=Remedy("Try again when a job has finished", RemedyAction.RETRY),
            )
        self._evict_down_to(self._budget - array.nbytes)
        kept = _compact(array)
        kept.flags.writeable = False
        self._arrays[digest] = kept
        self._bytes += kept.nbytes

    def has_room(self, size: int) -> bool:
        """Whether :meth:`put` would take a tensor of ``size`` bytes now."""
        return size <= self._budget - self._pinned_bytes

    def pin(self, digests: Iterable[Digest]) -> None:
        """Keep these until as many :meth:`unpin`. Raises KeyError, pinning none, if one isn't stored."""
        wanted = list(digests)
        for digest in wanted:
            if digest not in self._arrays:
                raise KeyError(digest)
        for digest in wanted:
            if self._pins[digest] == 0:
                self._pinned_bytes += self._arrays[digest].nbytes
            self._pins[digest] += 1

    def unpin(self, digests: Iterable[Digest]) -> None:
        """Undo one :meth:`pin` of each. Raises KeyError for one that isn't pinned."""
        for digest in digests:
            if digest not in self._pins:
                raise KeyError(digest)
            self._pins[digest] -= 1
            if self._pins[digest] == 0:
                del self._pins[digest]
                self._pinned_bytes -= self._arrays[digest].nbytes
                if is_one_off(digest):
                    self._bytes -= self._arrays.pop(digest).nbytes

    def _evict_down_to(self, limit: int) -> None:
        idle = (digest for digest in list(self._arrays) if digest not in self._pins)
        while self._bytes > limit:
            self._bytes -= self._arrays.pop(next(idle)).nbytes


def _compact(array: AnyArray) -> AnyArray:
    """A contiguous array that doesn't keep a much larger buffer (a whole frame) alive; copied only if needed."""
    root: object = array
    while isinstance(root, np.ndarray) and root.base is not None:
        root = root.base
    held = root.nbytes if isinstance(root, (np.ndarray, memoryview)) else memoryview(root).nbytes  # type: ignore[arg-type]
    if held > array.nbytes + array.nbytes // 4 + 4096 or not array.flags.c_contiguous:
        return np.array(array, order="C")
    return array.view()
