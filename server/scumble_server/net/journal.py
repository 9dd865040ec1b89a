"""The book of all jobs: what became of each, kept until its client says that it knows.

A job outlives the connection it came by. Its reliable events are numbered 1, 2, ... and kept until the client
acknowledges the last one, or until nobody has asked for ``keep_seconds``. Whoever comes back with the job's id gets
what it hasn't got yet; progress and previews go only to a listener who is there.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from scumble_shared.codec import describe
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import AnyJob
from scumble_shared.limits import Limits
from scumble_shared.messages import Accepted, Cancelled, Failed, Preview, Progress, Result, Started

from ..service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobPreviewUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobService,
    JobStartedUpdate,
    JobUpdate,
)
from .mailbox import Outgoing

__all__ = ["Journal", "Listener"]


class Listener(Protocol):
    """Where a job's events go while its client is connected."""

    def tell(self, job_id: str, outgoing: Outgoing, *, final: bool) -> None:
        """A reliable event. final: nothing follows."""

    def tell_latest(self, job_id: str, outgoing: Outgoing) -> None:
        """Progress or a preview, which may be dropped for a later one."""


@dataclass(slots=True)
class _Record:
    """quiet_since: when its listener left or its last event came, for expiry."""

    job: AnyJob
    listener: Listener | None
    quiet_since: float
    seq: int = 0
    events: deque[tuple[int, Outgoing]] = field(default_factory=deque)
    ended: bool = False
    given_up: bool = False  # told to stop because its client stayed away
    nbytes: int = 0
    started: float = math.nan


class Journal:
    """clock: monotonic seconds."""

    def __init__(
        self, service: JobService, limits: Limits, clock: Callable[[], float], keep_seconds: float = 900.0
    ) -> None:
        self._service = service
        self._limits = limits
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def kept_bytes(self) -> int:
        """Of results that wait for their acknowledgement."""
        return self._bytes

    def known(self, job_id: str, job: AnyJob, listener: Listener) -> bool:
        """Whether this very job was submitted before; if so, ``listener`` is told all that is kept of it.

        Raises ScumbleError CONFLICT if the id belongs to another job, BUSY while it is still being stopped after its
        client stayed away too long.
        """
        record = self._records.get(job_id)
        if record is None:
            return False
        if record.job != job:
            raise ScumbleError(ErrorCode.CONFLICT, "this id was used for another job", field="job_id")
        if record.given_up:
            raise ScumbleError(ErrorCode.BUSY, "was given up and is being stopped", field="job_id", retryable=True)
        self._replay(job_id, record, listener, 0)
        return True

    def submit(self, job_id: str, job: AnyJob, owner: str, listener: Listener, *, previews: bool) -> None:
        """Queue a job that is not :meth:`known`. Raises what JobService.submit raises."""
        record = _Record(job, listener, self._clock())
        position = self._service.submit(
            job_id, job, owner, lambda update: self._updated(job_id, record, update), previews=previews
        )
        self._records[job_id] = record
        self._add(job_id, record, lambda seq: Outgoing(Accepted(job_id, seq, position)))

    def cancel(self, job_id: str) -> None:
        """Raises ScumbleError UNKNOWN_JOB. Cancelling a job that has ended changes nothing."""
        record = self._records.get(job_id)
        if record is None:
            raise ScumbleError(ErrorCode.UNKNOWN_JOB, "there is no such job here", field="job_id")
        if not record.ended:
            self._service.cancel(job_id)

    def resume(self, job_id: str, seq: int, listener: Listener) -> Callable[[], None] | None:
        """How to send ``listener`` all after event ``seq``; None if the job isn't known (any longer)."""
        record = self._records.get(job_id)
        if record is None or record.given_up:
            return None
        return lambda: self._replay(job_id, record, listener, seq)

    def acknowledge(self, job_id: str, seq: int) -> None:
        """The client has everything up to ``seq``; after the last event the job is forgotten."""
        record = self._records.get(job_id)
        if record is None:
            return
        while record.events and record.events[0][0] <= seq:
            self._release(record, record.events.popleft()[1])
        if record.ended and not record.events:
            del self._records[job_id]

    def leave(self, listener: Listener) -> None:
        """The connection is gone; its jobs go on without it."""
        for record in self._records.values():
            if record.listener is listener:
                record.listener = None
                record.quiet_since = self._clock()

    def expire(self) -> None:
        """Forget jobs whose client hasn't come back; those still queued or running are cancelled. Call now and then."""
        oldest = self._clock() - self._keep_seconds
        for job_id, record in list(self._records.items()):
            if record.listener is not None or record.quiet_since >= oldest:
                continue
            if record.ended:
                self._forget(job_id)
            elif not record.given_up:
                record.given_up = True  # and forgotten when it has ended, so that its id isn't used twice at a time
                self._service.cancel(job_id)

    # --- events -------------------------------------------------------------------------------------

    def _updated(self, job_id: str, record: _Record, update: JobUpdate) -> None:
        match update:
            case JobProgressUpdate():
                self._tell_latest(job_id, record, Outgoing(self._progress(job_id, record, update)))
            case JobPreviewUpdate():
                info = describe("preview", update.image)
                preview = Preview(job_id, update.step, update.steps, (info,))
                self._tell_latest(job_id, record, Outgoing(preview, (update.image,), lossy=True))
            case JobStartedUpdate():
                record.started = self._clock()
                self._add(job_id, record, lambda seq: Outgoing(Started(job_id, seq)))
            case JobResultUpdate():
                self._end_with_result(job_id, record, update)
            case JobFailedUpdate():
                self._end(job_id, record, lambda seq: Outgoing(Failed(job_id, seq, update.error)))
            case JobCancelledUpdate():
                self._end(job_id, record, lambda seq: Outgoing(Cancelled(job_id, seq)))

    def _end_with_result(self, job_id: str, record: _Record, update: JobResultUpdate) -> None:
        nbytes = sum(array.nbytes for array in update.tensors.values())
        room = self._limits.transfer_bytes - self._limits.text_bytes  # the message's own text needs some, too
        if nbytes > room or len(update.tensors) > self._limits.blobs_per_frame:
            error = ErrorInfo(
                ErrorCode.TOO_LARGE,
                f"the result ({len(update.tensors)} pictures, {nbytes} bytes) is more than one message can carry",
                remedy=Remedy("Choose a smaller size or fewer pictures", RemedyAction.REDUCE_SIZE),
            )
            self._end(job_id, record, lambda seq: Outgoing(Failed(job_id, seq, error)))
            return
        infos = tuple(describe(name, array, update.digests.get(name, "")) for name, array in update.tensors.items())
        arrays = tuple(update.tensors.values())
        self._end(job_id, record, lambda seq: Outgoing(Result(job_id, seq, infos, update.provenance), arrays))

    def _progress(self, job_id: str, record: _Record, update: JobProgressUpdate) -> Progress:
        eta = None
        if update.fraction and not math.isnan(record.started):
            elapsed = self._clock() - record.started
            eta = elapsed * (1.0 - update.fraction) / update.fraction
        return Progress(job_id, update.stage, update.step, update.steps, update.fraction, eta)

    def _end(self, job_id: str, record: _Record, make: Callable[[int], Outgoing]) -> None:
        record.ended = True
        if record.given_up:
            self._forget(job_id)
            return
        self._add(job_id, record, make)
        for other in list(self._records):
            if self._bytes <= self._limits.store_bytes:
                break
            if other != job_id and self._records[other].ended:
                self._forget(other)

    def _add(self, job_id: str, record: _Record, make: Callable[[int], Outgoing]) -> None:
        record.seq += 1
        outgoing = make(record.seq)
        record.events.append((record.seq, outgoing))
        record.quiet_since = self._clock()
        nbytes = sum(array.nbytes for array in outgoing.tensors)
        record.nbytes += nbytes
        self._bytes += nbytes
        if record.listener is not None:
            record.listener.tell(job_id, outgoing, final=record.ended)

    def _tell_latest(self, job_id: str, record: _Record, outgoing: Outgoing) -> None:
        if record.listener is not None:
            record.listener.tell_latest(job_id, outgoing)

    def _replay(self, job_id: str, record: _Record, listener: Listener, after: int) -> None:
        record.listener = listener
        for seq, outgoing in record.events:
            if seq > after:
                listener.tell(job_id, outgoing, final=record.ended and seq == record.seq)

    # --- forgetting ---------------------------------------------------------------------------------

    def _release(self, record: _Record, outgoing: Outgoing) -> None:
        nbytes = sum(array.nbytes for array in outgoing.tensors)
        record.nbytes -= nbytes
        self._bytes -= nbytes

    def _forget(self, job_id: str) -> None:
        self._bytes -= self._records.pop(job_id).nbytes
