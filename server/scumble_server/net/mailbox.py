"""What waits to be sent on one connection.

Reliable messages are queued in order; of progress and previews only the latest per job waits. So a slow reader
costs a bounded amount of memory and never slows anybody else down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from scumble_shared.messages import ServerMessage
from scumble_shared.tensor import AnyArray

__all__ = ["RELIABLE_LIMIT", "Mailbox", "Outgoing"]

RELIABLE_LIMIT = 1024
"""Messages. A reader so far behind is cut off, and gets them again when it resumes."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the tensors it describes. lossy: a codec may lose what a viewer doesn't see."""

    message: ServerMessage
    tensors: tuple[AnyArray, ...] = ()
    lossy: bool = False


class Mailbox:
    """on_news: called whenever there may be something to take."""

    def __init__(self, on_news: Callable[[], None], limit: int = RELIABLE_LIMIT) -> None:
        self._on_news = on_news
        self._limit = limit
        self._reliable: deque[Outgoing] = deque()
        self._latest: dict[Hashable, Outgoing] = {}
        self._overflowed = False

    @property
    def overflowed(self) -> bool:
        """The reader is hopelessly behind: close the connection."""
        return self._overflowed

    def post(self, outgoing: Outgoing) -> None:
        """Queue a message that must arrive, or mark the mailbox as overflowed."""
        if len(self._reliable) >= self._limit:
            self._overflowed = True
            self._reliable.clear()
        if not self._overflowed:
            self._reliable.append(outgoing)
        self._on_news()

    def post_latest(self, key: Hashable, outgoing: Outgoing) -> None:
        """Replace what waits under ``key``. It is sent when nothing reliable waits."""
        self._latest.pop(key, None)
        self._latest[key] = outgoing
        self._on_news()

    def drop_latest(self, *keys: Hashable) -> None:
        """Forget what waits under these keys."""
        for key in keys:
            self._latest.pop(key, None)

    def take(self) -> Outgoing | None:
        """The next message to send; None if there is none now."""
        if self._reliable:
            return self._reliable.popleft()
        if self._latest:
            return self._latest.pop(next(iter(self._latest)))
        return None
