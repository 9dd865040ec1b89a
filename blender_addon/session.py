"""The add-on's one conversation with a server: its state, its jobs, and what is done with what arrives.

Everything here runs on Blender's main thread, in :meth:`Session.step`, and returns at once; bpy is not needed.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from scumble_shared.client import Arrived
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import Job
from scumble_shared.messages import (
    Accepted,
    Cancelled,
    Capabilities,
    Failed,
    Hello,
    ModelsChanged,
    Preview,
    Problem,
    Progress,
    Ready,
    Result,
    Started,
)
from scumble_shared.tensor import AnyArray, Digest

from .connection.address import Address
from .connection.link import Addressed, Arrival, Link, LinkEvent
from .connection.server_process import LocalServer
from .jobs import JobRecord, JobRegistry, JobState, Target
from .memory_note import memory_note

__all__ = ["ConnectionState", "Session"]

LOOK_INTERVAL = 0.1
"""Seconds between two looks at the server's process and record."""


class ConnectionState(StrEnum):
    OFF = "off"
    STARTING = "starting"  # the server's process runs, its address isn't known yet
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"  # tried again by itself
    FAILED = "failed"  # not tried again; ``error`` says why


class Session:
    """client: name and version. prepare: heavy work on what arrives, on the network thread, given the job's record.

    on_result, on_preview: called on the main thread with the record of the job.
    """

    def __init__(
        self,
        client: str,
        prepare: Callable[[Arrived, JobRecord], object],
        on_result: Callable[[JobRecord], None],
        on_preview: Callable[[JobRecord, object], None],
    ) -> None:
        self.jobs = JobRegistry()
        self.state = ConnectionState.OFF
        self.error: ErrorInfo | None = None
        self.capabilities = Capabilities()
        self.server_name = ""
        self.problem: ErrorInfo | None = None  # what the panel tells, until it is dismissed or overtaken
        self.changes = 0  # grows with everything a panel might show
        self._client = client
        self._prepare = prepare
        self._on_result = on_result
        self._on_preview = on_preview
        self._link: Link | None = None
        self._server: LocalServer | None = None
        self._waiting: list[tuple[str, Mapping[Digest, AnyArray], bool, Collection[Digest]]] = []
        self._looked = 0.0

    # --- connection ---------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether :meth:`step` has anything to do."""
        return self._link is not None or self._server is not None

    @property
    def has_news(self) -> bool:
        """Whether something has arrived that :meth:`step` would deal with."""
        return self._link is not None and bool(self._link.events)

    @property
    def server_pid(self) -> int:
        """Process id of the server of our own, 0 without one."""
        return self._server.pid if self._server else 0

    def start_server(
        self,
        command: Sequence[str],
        log: Path,
        arguments: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """variables: for the server's environment. Raises ScumbleError SERVER_UNREACHABLE if it can't be run."""
        self._leave()
        self._server = LocalServer(command, log, arguments, variables)
        self._set(ConnectionState.STARTING)

    def connect(self, address: Address, find: Callable[[], Address] | None = None) -> None:
        """find: where the server is after the connection was lost, if not where it was; for the network thread."""
        self._leave()
        self._open(address, find)

    def disconnect(self, *, wait: bool = False) -> None:
        """Jobs that haven't ended fail. wait: until the server of our own has ended, too."""
        self._fail_jobs(ErrorInfo(ErrorCode.CONNECTION_LOST, "Scumble was disconnected", "", True, RETRY))
        self._leave(wait=wait)
        self.capabilities = Capabilities()
        self._set(ConnectionState.OFF)

    def fail(self, error: ErrorInfo) -> None:
        """There is no way to a server; waiting jobs end with the reason."""
        self._leave()
        self._set(ConnectionState.FAILED, error)
        self._fail_jobs(error)

    def list_models(self) -> None:
        """Have the server look for models that came or went; ``capabilities`` will tell."""
        if self._link is not None:
            self._link.list_models()

    def _open(self, address: Address, find: Callable[[], Address] | None = None) -> None:
        self._link = Link(address, self._client, self._prepared, find)
        for job_id, tensors, previews, once in self._waiting:
            if (record := self.jobs.get(job_id)) is not None and not record.state.ended:
                self._link.submit(job_id, record.job, tensors, previews=previews, once=once)
        self._waiting.clear()
        self._link.start()
        self._set(ConnectionState.CONNECTING)

    def _leave(self, *, wait: bool = False) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._server is not None:
            ending = threading.Thread(target=self._server.stop, name="scumble-server-end")
            ending.start()
            if wait:
                ending.join()
            self._server = None

    def _set(self, state: ConnectionState, error: ErrorInfo | None = None) -> None:
        self.state, self.error = state, error
        if state is ConnectionState.FAILED:
            self.problem = error
        self.changes += 1

    def report(self, error: ErrorInfo | None) -> None:
        """Show an error in the panel, or none."""
        self.problem = error
        self.changes += 1

    # --- jobs ---------------------------------------------------------------------------------------

    def submit(
        self,
        job: Job,
        tensors: Mapping[Digest, AnyArray],
        target: Target,
        *,
        previews: bool = True,
        once: Collection[Digest] = (),
    ) -> JobRecord:
        """Have ``job`` done as soon as there is a connection.

        tensors: by stand-in (:mod:`.connection.addressing`) or content address, as the job names them. once: those
        that no other job will need.
        """
        record = JobRecord(str(uuid.uuid4()), job, target, tensors=tensors, note=target.note)
        self.jobs.add(record)
        if self._link is not None:
            self._link.submit(record.id, job, tensors, previews=previews, once=once)
        else:
            self._waiting.append((record.id, tensors, previews, once))
        if not target.live:
            self.problem = None
            self.changes += 1
        return record

    def cancel(self, job_id: str) -> None:
        """The job's end will arrive; one that never left ends here and now."""
        if self._link is not None:
            self._link.cancel(job_id)
        else:
            self._end(job_id, JobState.CANCELLED)

    def _end(self, job_id: str, state: JobState, **changes: object) -> JobRecord | None:
        self._waiting = [entry for entry in self._waiting if entry[0] != job_id]
        record = self.jobs.update(job_id, state=state, **changes)
        if record is not None and record.error is not None:
            self.problem = record.error
        return record

    def _fail_jobs(self, error: ErrorInfo) -> None:
        for record in self.jobs.live():
            self._end(record.id, JobState.FAILED, error=error)

    # --- the main thread's turn ---------------------------------------------------------------------

    def step(self, deadline: float) -> int:
        """Deals with what has arrived until ``deadline`` (``time.perf_counter``); how many events that were.

        At least one event is dealt with, so that a short deadline can't starve them.
        """
        self._look_after_server()
        count = 0
        while self._link is not None and (event := self._link.events.take()) is not None:
            quiet = self._is_about_live(event)
            self._handle(event)
            count += 1
            self.changes += not quiet
            if time.perf_counter() >= deadline:
                break
        return count

    def _look_after_server(self) -> None:
        now = time.monotonic()
        if self._server is None or now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        try:
            if self.state is not ConnectionState.STARTING:
                self._server.check_alive()
            elif (address := self._server.find()) is not None:
                self._open(address)
        except ScumbleError as error:
            self.fail(error.info)

    def _is_about_live(self, event: LinkEvent) -> bool:
        """Panels that were drawn anew for every step of every frame would cost more than the frames."""
        told = event.arrived.message if isinstance(event, Arrival) else event
        record = self.jobs.get(getattr(told, "job_id", ""))
        return record is not None and record.target.live and not isinstance(told, Failed | Problem)

    def _handle(self, event: LinkEvent) -> None:
        if isinstance(event, Arrival):
            self._dispatch(event.arrived, event.prepared)
        elif isinstance(event, Addressed):
            self.jobs.update(event.job_id, job=event.job, tensors=event.tensors)
        elif event.again_in is None:
            self._set(ConnectionState.FAILED, event.error)
            self._fail_jobs(event.error)
        else:
            self._set(ConnectionState.LOST, event.error)

    def _dispatch(self, arrived: Arrived, prepared: object) -> None:
        match arrived.message:
            case Hello(server=server):
                self.server_name = server
            case Ready(capabilities=capabilities):
                self.capabilities = capabilities
                self._set(ConnectionState.READY)
            case ModelsChanged(capabilities=capabilities):
                self.capabilities = capabilities
            case Accepted(job_id=job_id, position=position):
                self.jobs.update(job_id, position=position)
            case Started(job_id=job_id):
                self.jobs.update(job_id, state=JobState.RUNNING, position=0)
            case Progress() as progress:
                self._told_of_progress(progress)
            case Preview(job_id=job_id, step=step, steps=steps):
                record = self.jobs.update(job_id, step=step, steps=steps)
                if record is not None:
                    self._on_preview(record, prepared)
            case Result() as result:
                self._told_of_result(result, prepared)
            case Failed(job_id=job_id, error=error):
                self._end(job_id, JobState.FAILED, error=error)
            case Cancelled(job_id=job_id):
                self._end(job_id, JobState.CANCELLED)
            case Problem(job_id=job_id, error=error):
                if job_id:
                    self._end(job_id, JobState.FAILED, error=error)
                else:
                    self.problem = error

    def _told_of_progress(self, progress: Progress) -> None:
        self.jobs.update(
            progress.job_id,
            stage=progress.stage,
            step=progress.step,
            steps=progress.steps,
            fraction=progress.fraction,
            eta=progress.eta,
        )

    def _told_of_result(self, result: Result, prepared: object) -> None:
        if isinstance(prepared, ErrorInfo):
            self._end(result.job_id, JobState.FAILED, error=prepared)
            return
        digests = {info.name: info.digest for info in result.tensors}
        self.jobs.annotate(result.job_id, memory_note(result.provenance))
        record = self._end(
            result.job_id,
            JobState.DONE,
            digests=digests,
            prepared=prepared,
            provenance=result.provenance,
            fraction=1.0,
            eta=None,
        )
        if record is not None:
            self._on_result(record)

    def _prepared(self, arrived: Arrived, job: Job) -> object:
        """On the network thread, which may know the job's addresses before the main thread has heard of them."""
        record = self.jobs.get(getattr(arrived.message, "job_id", ""))
        return self._prepare(arrived, replace(record, job=job)) if record is not None and arrived.tensors else None


RETRY = Remedy("Try Again", RemedyAction.RETRY)
