"""What the network thread has for the main thread: bounded, in order, stale progress and previews overwritten."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

__all__ = ["Outbox"]


class Outbox:
    """One thread puts, another takes. capacity: entries that may wait before :meth:`put` blocks."""

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[object, Any] = OrderedDict()
        self._room = threading.Condition()
        self._closed = False

    def put(self, entry: object, latest: object = None) -> None:
        """latest: entries of the same key replace each other, in place; None is kept whatever follows.

        Waits while the outbox is full, which in the end makes the server wait.
        """
        with self._room:
            key = object() if latest is None else latest
            self._room.wait_for(lambda: self._closed or key in self._entries or len(self._entries) < self._capacity)
            if not self._closed:
                self._entries[key] = entry

    def __bool__(self) -> bool:
        """Whether :meth:`take` has something."""
        return bool(self._entries)

    def take(self) -> Any:
        """The oldest entry, or None."""
        with self._room:
            if not self._entries:
                return None
            _, entry = self._entries.popitem(last=False)
            self._room.notify_all()
            return entry

    def close(self) -> None:
        """Nothing is kept or waited for any longer."""
        with self._room:
            self._closed = True
            self._entries.clear()
            self._room.notify_all()

    def __len__(self) -> int:
        return len(self._entries)
