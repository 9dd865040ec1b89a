"""The job service: validated jobs in, updates out, one worker process doing them in a fair order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scumble_shared.errors import ErrorCode, ErrorInfo
from scumble_shared.job import Job
from scumble_shared.limits import DEFAULT_LIMITS, Limits
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from ..models.scan import default_model_dirs, scan
from ..service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobPreviewUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
    JobUpdate,
)
from . import complaints
from .book import JobBook
from .link import describe_exit
from .model_list import ModelList
from .spec import ExecutorSpec, engine_spec
from .status import ServiceStatus, WorkerState
from .supervisor import Supervisor, SupervisorPolicy
from .wire import (
    CancelWork,
    LookForModels,
    PreviewTaken,
    StartFailed,
    WarmedUp,
    Work,
    WorkCancelled,
    WorkerReady,
    WorkFailed,
    WorkPreview,
    WorkProgress,
    WorkResult,
)

__all__ = ["WorkerService", "engine_service"]

logger = logging.getLogger(__name__)

MODEL_GONE = (ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID)
"""What a job fails with if its model was removed or spoilt after the last look."""


@dataclass(slots=True)
class _Worker:
    """What is known of the worker process. problem: why it isn't as ready as it should be."""

    state: WorkerState = WorkerState.STOPPED
    stage: str = ""
    fraction: float | None = None
    problem: ErrorInfo | None = None


class WorkerService:
    """Implements ``scumble_server.service.JobService``. All calls on the event-loop thread.

    capabilities: what to say until the worker has said its own. find_models: what to say later, but for the device;
    walks through the folders. Without it the worker's word at its start holds.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        *,
        limits: Limits = DEFAULT_LIMITS,
        capabilities: Capabilities | None = None,
        find_models: Callable[[], Capabilities] | None = None,
        policy: SupervisorPolicy | None = None,
    ) -> None:
        self._policy = policy or SupervisorPolicy()
        self._capabilities = capabilities or Capabilities()
        self._models = ModelList(find_models, self._found_models) if find_models else None
        self._watchers: list[Callable[[], None]] = []
        self._book = JobBook(limits)
        self._worker = _Worker()
        self._start_seconds = limits.worker_start_seconds
        self._supervisor = Supervisor(
            spec,
            self._policy,
            self._start_seconds,
            on_message=self._heard,
            on_overdue=self._overdue,
            on_lost=self._lost,
            on_gave_up=self._gave_up,
        )

    def start(self) -> None:
        """Start the worker process, without waiting for it. Needs a running event loop."""
        self._worker = _Worker(WorkerState.STARTING)
        self._supervisor.start()

    async def close(self) -> None:
        """End the worker, in bounded time; every job that hasn't ended fails with WORKER_LOST."""
        self._worker = _Worker(WorkerState.STOPPED)
        if self._models is not None:
            self._models.close()
        for entry in self._book.all():
            self._book.end(entry, JobFailedUpdate(complaints.stopped()))
        await self._supervisor.close()

    def status(self) -> ServiceStatus:
        return ServiceStatus(
            state=self._worker.state,
            stage=self._worker.stage,
            fraction=self._worker.fraction,
            worker_pid=self._supervisor.pid,
            queued=len(self._book.waiting()),
            running=int(self._book.running is not None),
            succeeded=self._book.counts.succeeded,
            failed=self._book.counts.failed,
            cancelled=self._book.counts.cancelled,
            restarts=self._supervisor.restarts,
            store_bytes=self._book.store.used_bytes,
            problem=self._worker.problem,
        )

    # --- JobService -------------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def look_for_models(self) -> None:
        if self._models is not None:
            await self._models.look()

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        self._watchers.append(callback)

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        return self._book.store.missing(digests)

    def put(self, digest: Digest, array: AnyArray) -> None:
        self._book.store.put(digest, array)

    def submit(
        self, job_id: str, job: Job, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int:
        """See JobService. Raises ValueError for an id that is queued or running, KeyError for a missing tensor."""
        ahead = self._book.add(job_id, job, owner, emit, previews=previews)
        if self._worker.state is WorkerState.FAILED:
            self.start()
        asyncio.get_running_loop().call_soon(self._dispatch)  # later, so that its start isn't told before this returns
        return ahead

    def cancel(self, job_id: str) -> bool:
        entry = self._book.get(job_id)
        if entry is None:
            return False
        if self._book.withdraw(job_id):
            self._book.end(entry, JobCancelledUpdate())
        elif entry.overdue is None:
            self._supervisor.send(CancelWork(job_id))
            loop = asyncio.get_running_loop()
            entry.overdue = loop.call_later(self._policy.cancel_grace, self._supervisor.kill)
        return True

    # --- the worker -------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give the worker its next job if it can take one."""
        if self._worker.state is not WorkerState.READY or (following := self._book.start_next()) is None:
            return
        entry, arrays = following
        self._worker.state = WorkerState.WORKING
        self._supervisor.send(Work(entry.job_id, entry.job, entry.digests, entry.previews), *arrays)
        entry.emit(JobStartedUpdate())

    def _heard(self, message: Any, arrays: list[AnyArray]) -> None:
        if self._worker.state is WorkerState.STOPPED:
            return
        match message:
            case WorkerReady():
                self._worker = _Worker(WorkerState.WARMING_UP)
                self._heard_capabilities(message.capabilities)
            case WarmedUp():
                self._warmed_up(message)
            case StartFailed():
                self._worker.problem = message.error
            case WorkProgress(job_id=""):
                self._warming(message)
            case _:
                self._heard_of_work(message, arrays)

    def _heard_of_work(self, message: Any, arrays: list[AnyArray]) -> None:
        entry = self._book.running
        if entry is None or entry.job_id != message.job_id:
            raise AssertionError(f"the worker spoke of {message.job_id}, which it wasn't given")
        match message:
            case WorkProgress():
                entry.emit(JobProgressUpdate(message.stage, message.step, message.steps, message.fraction))
                return
            case WorkPreview():
                entry.emit(JobPreviewUpdate(arrays[0], message.step, message.steps))
                self._supervisor.send(PreviewTaken())
                return
            case WorkResult():
                self._book.keep(message.digests, arrays)
                tensors = dict(zip(message.names, arrays, strict=True))
                digests = dict(zip(message.names, message.digests, strict=True))
                update: JobUpdate = JobResultUpdate(tensors, message.provenance, digests)
            case WorkFailed():
                update = JobFailedUpdate(message.error)
                if self._models is not None and message.error.code in MODEL_GONE:
                    self._models.look_soon()
            case WorkCancelled():
                update = JobCancelledUpdate()
        leaving = isinstance(message, WorkFailed) and message.error.code is ErrorCode.WORKER_LOST
        self._worker.state = WorkerState.LOST if leaving else WorkerState.READY
        asyncio.get_running_loop().call_soon(self._dispatch)
        self._book.end(entry, update)

    def _heard_capabilities(self, capabilities: Capabilities) -> None:
        """The worker looked for models itself, before we did or after."""
        if self._models is not None and replace(self._capabilities, device=capabilities.device) != capabilities:
            self._models.look_soon()
        self._say_capabilities(capabilities)

    def _found_models(self, found: Capabilities) -> None:
        found = replace(found, device=self._capabilities.device)
        if found != self._capabilities and self._worker.state is not WorkerState.STOPPED:
            self._supervisor.send(LookForModels())
            self._say_capabilities(found)

    def _say_capabilities(self, capabilities: Capabilities) -> None:
        if capabilities != self._capabilities:
            self._capabilities = capabilities
            for watcher in self._watchers:
                watcher()

    def _warming(self, message: WorkProgress) -> None:
        """Jobs that wait see a model load; that it is also tried out once is no step of theirs."""
        self._worker.stage, self._worker.fraction = message.stage, message.fraction
        for entry in self._book.waiting():
            entry.emit(JobProgressUpdate("loading"))

    def _warmed_up(self, message: WarmedUp) -> None:
        if message.error is not None:
            logger.warning("the default model could not be loaded ahead of time: %s", message.error.message)
        self._worker = _Worker(WorkerState.READY, problem=message.error)
        self._dispatch()

    def _overdue(self) -> None:
        self._worker.problem = complaints.start_overdue(self._start_seconds)

    def _lost(self, exitcode: int) -> None:
        problem = self._worker.problem
        self._worker = _Worker(WorkerState.LOST, problem=problem)
        entry = self._book.running
        if entry is None:
            return
        if entry.overdue is not None:
            self._book.end(entry, JobCancelledUpdate())
            return
        self._book.end(entry, JobFailedUpdate(complaints.lost(describe_exit(exitcode))))

    def _gave_up(self) -> None:
        """Nobody should wait for a worker that can't start."""
        problem = self._worker.problem or complaints.ended_at_once()
        self._worker = _Worker(WorkerState.FAILED, problem=problem)
        for entry in self._book.waiting():
            self._book.end(entry, JobFailedUpdate(problem))


def engine_service(
    model_dirs: tuple[Path, ...] | None = None,
    device: str = "auto",
    limits: Limits = DEFAULT_LIMITS,
    compiles: bool = False,
) -> WorkerService:
    """A service on the diffusion engine, which says what models there are before the engine is up.

    model_dirs: None for the user's. device: as :func:`~scumble_server.engine.device.resolve_device` takes it.
    compiles: see :func:`.spec.engine_spec`.
    """
    folders = default_model_dirs() if model_dirs is None else model_dirs

    def find_models() -> Capabilities:
        return scan(folders).capabilities(device="")

    return WorkerService(
        engine_spec(folders, device, compiles), limits=limits, capabilities=find_models(), find_models=find_models
    )
