"""Looking for models whenever somebody asks, off the event loop; nothing looks by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from scumble_shared.messages import Capabilities

__all__ = ["ModelList"]

logger = logging.getLogger(__name__)


class ModelList:
    """find: walks through the folders, in a thread. found: told on the event loop, each time."""

    def __init__(self, find: Callable[[], Capabilities], found: Callable[[Capabilities], None]) -> None:
        self._find = find
        self._found = found
        self._turn = asyncio.Lock()
        self._begun = 0
        self._soon: set[asyncio.Task[None]] = set()

    async def look(self) -> None:
        """Returns when a look that began after this call is done; callers who wait share one."""
        begun = self._begun
        async with self._turn:
            if self._begun > begun:
                return  # one began and ended while this waited for the one before
            self._begun += 1
            try:
                found = await asyncio.to_thread(self._find)
            except OSError:
                logger.exception("the folders of models can't be looked through; what was known stays")
                return
            self._found(found)

    def look_soon(self) -> None:
        """Without waiting for it."""
        task = asyncio.ensure_future(self.look())
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    def close(self) -> None:
        """Nothing is told any longer of looks that :meth:`look_soon` asked for."""
        for task in self._soon:
            task.cancel()
