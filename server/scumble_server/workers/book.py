"""The jobs that haven't ended, the order they are done in, and the tensors they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scumble_shared.job import Job, tensors_of
from scumble_shared.limits import Limits
from scumble_shared.tensor import AnyArray, Digest

from ..service import JobCancelledUpdate, JobResultUpdate, JobUpdate
from .queue import FairQueue
from .store import TensorStore

__all__ = ["Counts", "Entry", "JobBook"]


@dataclass(slots=True)
class Entry:
    """A job that hasn't ended. overdue: kills the worker that doesn't stop; set once it is told to."""

    job_id: str
    job: Job
    emit: Callable[[JobUpdate], None]
    previews: bool
    digests: tuple[Digest, ...]
    overdue: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Counts:
    """Of jobs that have ended."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class JobBook:
    """One job at most is ``running``; the others wait in the queue. Not thread-safe: for one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.store = TensorStore(limits.store_bytes)
        self.counts = Counts()
        self.running: Entry | None = None
        self._queue = FairQueue(limits.queued_jobs)
        self._entries: dict[str, Entry] = {}

    def get(self, job_id: str) -> Entry | None:
        return self._entries.get(job_id)

    def add(self, job_id: str, job: Job, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool) -> int:
        """Queue a job and keep its tensors; the number of those ahead of it.

        Raises ValueError for an id that is here already, KeyError for a missing tensor, and ScumbleError BUSY.
        """
        if job_id in self._entries:
            raise ValueError(f"job {job_id} is queued or running already")
        digests = tuple(dict.fromkeys(tensors_of(job)))
        self.store.pin(digests)
        try:
            self._queue.add(job_id, owner)
        except Exception:
            self.store.unpin(digests)
            raise
        self._entries[job_id] = Entry(job_id, job, emit, previews, digests)
        return self._queue.position(job_id) + (self.running is not None)

    def start_next(self) -> tuple[Entry, list[AnyArray]] | None:
        """The job whose turn it is, with its tensors; it is the running one from now on. None if none waits."""
        job_id = self._queue.take()
        if job_id is None:
            return None
        entry = self.running = self._entries[job_id]
        return entry, [self.store.get(digest) for digest in entry.digests]

    def withdraw(self, job_id: str) -> bool:
        """Take a job that waits out of the queue; False if it doesn't wait."""
        return self._queue.remove(job_id)

    def waiting(self) -> list[Entry]:
        """In the order they would be taken."""
        return [self._entries[job_id] for job_id in self._queue.order()]

    def all(self) -> list[Entry]:
        return list(self._entries.values())

    def keep(self, digests: Sequence[Digest], arrays: Sequence[AnyArray]) -> None:
        """Results that have addresses, as far as there is room for them."""
        for digest, array in zip(digests, arrays, strict=True):
            if digest and self.store.has_room(array.nbytes):
                self.store.put(digest, array)

    def end(self, entry: Entry, update: JobUpdate) -> None:
        """The one place where a job ends: it leaves all books before anybody hears of it."""
        del self._entries[entry.job_id]
        self._queue.remove(entry.job_id)
        if self.running is entry:
            self.running = None
        if entry.overdue is not None:
            entry.overdue.cancel()
        self.store.unpin(entry.digests)
        match update:
            case JobResultUpdate():
                self.counts.succeeded += 1
            case JobCancelledUpdate():
                self.counts.cancelled += 1
            case _:
                self.counts.failed += 1
        entry.emit(update)
