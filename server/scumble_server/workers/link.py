"""One worker process as the event loop sees it: messages in, messages out, and word of its end."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from scumble_shared.tensor import AnyArray

from .process import run_worker
from .ring import Ring
from .spec import ExecutorSpec
from .wire import RING_BYTES, Line, StopWorker, ToWorker

__all__ = ["WorkerLink", "describe_exit"]

logger = logging.getLogger(__name__)

_EXIT_GRACE = 5.0
"""Seconds a process may take to end after it closed its pipe."""


class WorkerLink:
    """Spawns the process at once. Callbacks come on ``loop``; ``on_exit(exitcode)`` is the last of them.

    Two threads keep the loop free: one reads the pipe, one writes it.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Any, list[AnyArray]], None],
        on_exit: Callable[[int], None],
        *,
        warm_up: bool,
    ) -> None:
        self._loop = loop
        self._on_message = on_message
        self._on_exit = on_exit
        self._ended = asyncio.Event()
        self._outgoing: SimpleQueue[tuple[ToWorker, tuple[AnyArray, ...]] | None] = SimpleQueue()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        rings = _rings()
        self._line = Line(ours, *rings)
        names = (rings[0].name, rings[1].name) if rings else None
        self._process = context.Process(
            target=run_worker,
            args=(theirs, names, spec, warm_up, logging.getLogger().getEffectiveLevel()),
            name="scumble-worker",
            daemon=True,
        )
        with _interrupts_ignored():
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._writer = threading.Thread(target=self._write, name="scumble-to-worker", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="scumble-from-worker", daemon=True).start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None, "started in __init__"
        return pid

    def send(self, message: ToWorker, *arrays: AnyArray) -> None:
        """Never blocks; lost without a word if the process ends first, of which ``on_exit`` tells."""
        self._outgoing.put((message, arrays))

    def kill(self) -> None:
        self._process.kill()

    async def stop(self, grace: float) -> None:
        """Ask the process to end; after ``grace`` seconds make it."""
        self.send(StopWorker())
        try:
            await asyncio.wait_for(self._ended.wait(), grace)
        except TimeoutError:
            self.kill()
            await self._ended.wait()

    def _write(self) -> None:
        while (item := self._outgoing.get()) is not None:
            message, arrays = item
            try:
                self._line.send(message, arrays)
            except OSError:
                return  # the reader sees the end of the pipe, too
            except Exception:
                logger.exception("a message for the worker could not be sent")
                self.kill()  # rather a lost job than one that waits for ever
                return

    def _read(self) -> None:
        try:
            while True:
                self._call(self._on_message, *self._line.receive())
        except (EOFError, OSError):
            pass  # the ordinary end
        except Exception:
            logger.exception("the worker said something that can't be understood")
            self.kill()
        self._outgoing.put(None)
        self._process.join(_EXIT_GRACE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._writer.join()  # it can't hang: the pipe has broken
        self._line.close()
        self._call(self._finish, self._process.exitcode)

    def _finish(self, exitcode: int) -> None:
        self._ended.set()
        self._on_exit(exitcode)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            if not self._loop.is_closed():
                raise


def _rings() -> tuple[Ring, Ring] | tuple[()]:
    """To the worker and from it; none where there is no room for them, and all takes the pipe."""
    made: list[Ring] = []
    try:
        made += [Ring.create(RING_BYTES)]
        return made[0], Ring.create(RING_BYTES)
    except OSError as error:
        logger.info("no shared memory for the worker (%s); the pipe does as well, only slower", error)
        for ring in made:
            ring.close()
        return ()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started meanwhile ignores Ctrl-C from its first moment on, not only once it has got to say so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers can't be set from here
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)


def describe_exit(exitcode: int) -> str:
    """How a process ended, for people."""
    if exitcode >= 0:
        return f"exit status {exitcode}"
    name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else f"signal {-exitcode}"
    return f"{name}, perhaps because the machine ran out of memory" if name == "SIGKILL" else name
