"""Keeps one worker process running: starts it, starts it anew after a crash, and stops it in bounded time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scumble_shared.tensor import AnyArray

from .link import WorkerLink, describe_exit
from .spec import ExecutorSpec
from .wire import ToWorker, WarmedUp

__all__ = ["Supervisor", "SupervisorPolicy"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorPolicy:
    """All times in seconds.

    restart_delay: before the first restart, doubled for each further one up to restart_delay_max, and back
    again once a worker got as far as being ready for work.
    start_attempts: failed starts in a row after which nothing is tried any more until somebody wants a job done.
    stop_grace: a worker told to stop that still runs after this is killed.
    cancel_grace: a worker told to cancel a job that still works on it after this is killed.
    """

    restart_delay: float = 0.25
    restart_delay_max: float = 30.0
    start_attempts: int = 3
    stop_grace: float = 3.0
    cancel_grace: float = 30.0


class Supervisor:
    """start_seconds: of silence after which a worker that isn't ready yet is ended, and not tried again by itself: what
    hangs once hangs again.

    on_message: everything the worker says. on_overdue: it is ended for that reason. on_lost: it ended, unasked.
    on_gave_up: and won't be restarted.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        policy: SupervisorPolicy,
        start_seconds: float,
        *,
        on_message: Callable[[Any, list[AnyArray]], None],
        on_overdue: Callable[[], None],
        on_lost: Callable[[int], None],
        on_gave_up: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._policy = policy
        self._start_seconds = start_seconds
        self._on_message = on_message
        self._on_overdue = on_overdue
        self._on_lost = on_lost
        self._on_gave_up = on_gave_up
        self._link: WorkerLink | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._failures = 0
        self._closed = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the running worker process."""
        return self._link.pid if self._link else None

    @property
    def gave_up(self) -> bool:
        return self._link is None and self._restart is None and not self._closed

    def start(self) -> None:
        """Needs a running event loop. Also after giving up."""
        self._failures = 0
        self._spawn()

    def send(self, message: ToWorker, *arrays: AnyArray) -> None:
        if self._link is not None:
            self._link.send(message, *arrays)

    def kill(self) -> None:
        """The worker ends at once; it counts as lost."""
        if self._link is not None:
            self._link.kill()

    async def close(self) -> None:
        self._closed = True
        self._wait_no_longer()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._link is not None:
            await self._link.stop(self._policy.stop_grace)

    def _spawn(self) -> None:
        self._restart = None
        loop = asyncio.get_running_loop()
        # Loading the default model ahead of time may be what killed the last one; a job says what it needs.
        self._link = WorkerLink(self._spec, loop, self._heard, self._ended, warm_up=self._failures == 0)
        self._wait_again()

    def _heard(self, message: Any, arrays: list[AnyArray]) -> None:
        if isinstance(message, WarmedUp):
            self._failures = 0
            self._wait_no_longer()
        elif self._patience is not None:
            self._wait_again()
        self._on_message(message, arrays)

    def _wait_again(self) -> None:
        self._wait_no_longer()
        self._patience = asyncio.get_running_loop().call_later(self._start_seconds, self._overdue)

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _overdue(self) -> None:
        logger.error("the worker process wasn't ready within %g s and is ended", self._start_seconds)
        self._failures = self._policy.start_attempts
        self._on_overdue()
        self.kill()

    def _ended(self, exitcode: int) -> None:
        self._link = None
        self._wait_no_longer()
        if self._closed:
            return
        self._failures += 1
        self.restarts += 1
        logger.warning("the worker process ended: %s", describe_exit(exitcode))
        self._on_lost(exitcode)
        if self._failures >= self._policy.start_attempts:
            self._on_gave_up()
            return
        delay = min(self._policy.restart_delay * 2 ** (self._failures - 1), self._policy.restart_delay_max)
        self._restart = asyncio.get_running_loop().call_later(delay, self._spawn)
