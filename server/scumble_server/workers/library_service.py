"""A job service that also looks after models: library jobs are done beside the queue, each on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import AnyJob, Job, LibraryJob
from scumble_shared.library import ANSWER, LibraryAnswer, answer_tensor
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from ..models.manager import ModelManager
from ..service import (
    JobCancelled,
    JobCancelledUpdate,
    JobFailedUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
    JobUpdate,
)
from .status import ServiceStatus

__all__ = ["LibraryService"]

logger = logging.getLogger(__name__)

AT_A_TIME = 8
"""Library jobs that may go on together, of all clients."""

PROGRESS_SECONDS = 0.2
MEGABYTE = 1_000_000

STAGES = {"get": "downloading", "import": "importing", "verify": "verifying", "search": "searching"}
CHANGING = ("get", "import", "delete", "add_folder", "remove_folder")
"""After these there may be other models than before."""


class Inner(Protocol):
    """The service that does everything else; see JobService."""

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def status(self) -> ServiceStatus: ...

    def capabilities(self) -> Capabilities: ...

    async def look_for_models(self) -> None: ...

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None: ...

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]: ...

    def put(self, digest: Digest, array: AnyArray) -> None: ...

    def submit(
        self, job_id: str, job: Job, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int: ...

    def cancel(self, job_id: str) -> bool: ...


@dataclass(eq=False)
class _Errand:
    """One library job. The thread reads ``stopped`` and tells; all else is the event loop's."""

    job: LibraryJob
    emit: Callable[[JobUpdate], None]
    stopped: threading.Event = field(default_factory=threading.Event)


class LibraryService:
    """Implements ``scumble_server.service.JobService``: library jobs itself, all others by ``inner``."""

    def __init__(self, inner: Inner, manager: ModelManager) -> None:
        self._inner = inner
        self._manager = manager
        self._errands: dict[str, _Errand] = {}
        self._endings: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._inner.start()

    async def close(self) -> None:
        """Downloads stop where they are, and go on another time."""
        for errand in self._errands.values():
            errand.stopped.set()
        self._errands.clear()
        await self._inner.close()

    def status(self) -> ServiceStatus:
        return self._inner.status()

    # --- JobService -------------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        known = self._inner.capabilities()
        return replace(known, tasks=(*known.tasks, "library")) if known.tasks else known

    async def look_for_models(self) -> None:
        await self._inner.look_for_models()

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        self._inner.on_capabilities_changed(callback)

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        return self._inner.missing(digests)

    def put(self, digest: Digest, array: AnyArray) -> None:
        self._inner.put(digest, array)

    def submit(
        self, job_id: str, job: AnyJob, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int:
        if not isinstance(job, LibraryJob):
            return self._inner.submit(job_id, job, owner, emit, previews=previews)
        if len(self._errands) >= AT_A_TIME:
            raise ScumbleError(
                ErrorCode.BUSY,
                f"{AT_A_TIME} downloads and the like go on already",
                retryable=True,
                remedy=Remedy("Try again when one has finished", RemedyAction.RETRY),
            )
        self._errands[job_id] = errand = _Errand(job, emit)
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._work, args=(job_id, errand, loop), name="scumble-library", daemon=True)
        loop.call_soon(self._begin, job_id, errand, thread)
        return 0

    def cancel(self, job_id: str) -> bool:
        errand = self._errands.get(job_id)
        if errand is None:
            return self._inner.cancel(job_id)
        errand.stopped.set()
        return True

    # --- errands ----------------------------------------------------------------------------------

    def _begin(self, job_id: str, errand: _Errand, thread: threading.Thread) -> None:
        """Later than submit, so that the start isn't told before that returns."""
        if job_id in self._errands:
            errand.emit(JobStartedUpdate())
            thread.start()

    def _work(self, job_id: str, errand: _Errand, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: never raises, always ends the errand."""
        hooks = _Hooks(errand, lambda update: self._tell(loop, job_id, update))
        try:
            hooks.check_cancelled()
            answer = self._manager.run(errand.job, hooks)
            self._end(loop, job_id, _result(answer))
        except JobCancelled:
            self._end(loop, job_id, JobCancelledUpdate())
        except ScumbleError as error:
            self._end(loop, job_id, JobFailedUpdate(error.info))
        except Exception:  # a bug costs this one errand
            reference = secrets.token_hex(4)
            logger.exception("reference %s", reference)
            message = f"something went wrong in the server; reference {reference} in its log"
            self._end(loop, job_id, JobFailedUpdate(ErrorInfo(ErrorCode.INTERNAL, message)))

    def _tell(self, loop: asyncio.AbstractEventLoop, job_id: str, update: JobUpdate) -> None:
        def emit() -> None:
            if (errand := self._errands.get(job_id)) is not None:
                errand.emit(update)

        _on(loop, emit)

    def _end(self, loop: asyncio.AbstractEventLoop, job_id: str, update: JobUpdate) -> None:
        def end() -> None:
            task = loop.create_task(self._finish(job_id, update))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

        _on(loop, end)

    async def _finish(self, job_id: str, update: JobUpdate) -> None:
        """Whoever hears that a model is here can use it."""
        errand = self._errands.get(job_id)
        if errand is None:
            return
        if errand.job.action in CHANGING:
            await self._inner.look_for_models()
        if self._errands.pop(job_id, None) is not None:
            errand.emit(update)


class _Hooks:
    """TransferHooks of an errand: progress a few times a second, in megabytes."""

    def __init__(self, errand: _Errand, tell: Callable[[JobUpdate], None]) -> None:
        self._errand, self._tell = errand, tell
        self._stage = STAGES.get(errand.job.action, "working")
        self._told = 0.0

    def progress(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS and done != total:
            return
        self._told = now
        fraction = min(done / total, 1.0) if total else None
        self._tell(JobProgressUpdate(self._stage, done // MEGABYTE, (total or 0) // MEGABYTE, fraction))

    def check_cancelled(self) -> None:
        if self._errand.stopped.is_set():
            raise JobCancelled


def _result(answer: LibraryAnswer) -> JobResultUpdate:
    return JobResultUpdate({ANSWER: answer_tensor(answer)}, "{}")


def _on(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Nobody is told any more once the loop is gone."""
    try:
        loop.call_soon_threadsafe(action)
    except RuntimeError:
        if not loop.is_closed():
            raise
