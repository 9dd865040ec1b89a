"""The worker process: builds an executor, does one job at a time, and hears about cancels while it works."""

from __future__ import annotations

import gc
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue

from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob, Job
from scumble_shared.tensor import AnyArray, digest_of, is_one_off

from ..service import Executor, JobCancelled
from .ring import Ring
from .spec import ExecutorSpec
from .wire import (
    CancelWork,
    Line,
    LookForModels,
    PreviewTaken,
    StartFailed,
    StopWorker,
    ToServer,
    WarmedUp,
    Work,
    WorkCancelled,
    WorkerReady,
    WorkFailed,
    WorkPreview,
    WorkProgress,
    WorkResult,
)

__all__ = ["is_lost_device", "is_out_of_memory", "run_worker"]

logger = logging.getLogger(__name__)

LOST_DEVICE_EXIT = 70
"""Exit status of a worker whose device can't be used any more by this process (a CUDA assert)."""


class Channel:
    """The worker's end of the pipe. A thread of its own reads, so a cancel never waits for the work to end."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._work: SimpleQueue[tuple[Work, list[AnyArray]]] = SimpleQueue()
        self._cancelled = ""
        self._models_changed = threading.Event()
        self.preview_left = threading.Event()
        self.preview_left.set()
        threading.Thread(target=self._read, name="scumble-control", daemon=True).start()

    def next_work(self) -> tuple[Work, list[AnyArray]]:
        """Waits for the next job."""
        return self._work.get()

    def models_changed(self) -> bool:
        """Whether they did since this was last asked."""
        changed = self._models_changed.is_set()
        self._models_changed.clear()
        return changed

    def is_cancelled(self, job_id: str) -> bool:
        return job_id != "" and job_id == self._cancelled

    def send(self, message: ToServer, *arrays: AnyArray) -> None:
        self._line.send(message, arrays)

    def _read(self) -> None:
        """Ends the whole process when the server is gone or says so; nobody waits for its work any more."""
        try:
            while True:
                message, arrays = self._line.receive()
                self._take(message, arrays)
        except (EOFError, OSError):
            os._exit(0)

    def _take(self, message: object, arrays: list[AnyArray]) -> None:
        if isinstance(message, Work):
            self._work.put((message, arrays))
        elif isinstance(message, CancelWork):
            self._cancelled = message.job_id
        elif isinstance(message, LookForModels):
            self._models_changed.set()
        elif isinstance(message, PreviewTaken):
            self.preview_left.set()
        elif isinstance(message, StopWorker):
            os._exit(0)


class Hooks:
    """JobHooks over the pipe; job_id "" while warming up."""

    def __init__(self, channel: Channel, job_id: str = "", previews: bool = False) -> None:
        self._channel = channel
        self._job_id = job_id
        self._previews = previews

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        self._channel.send(WorkProgress(self._job_id, stage, step, steps, fraction))

    def wants_preview(self) -> bool:
        return self._previews and self._channel.preview_left.is_set()

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        self._channel.preview_left.clear()
        self._channel.send(WorkPreview(self._job_id, step, steps), image)

    def check_cancelled(self) -> None:
        if self._channel.is_cancelled(self._job_id):
            raise JobCancelled


def run_worker(
    connection: Connection, rings: tuple[str, str] | None, spec: ExecutorSpec, warm_up: bool, log_level: int
) -> None:
    """Entry point of the spawned process; it ends with the pipe, or when told to stop.

    rings: names of the shared memory to this process and from it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides when we end
    sys.stdout = sys.stderr  # the server's standard output is for whoever started it
    logging.basicConfig(level=log_level, format="%(asctime)s worker %(levelname)s %(name)s: %(message)s")
    try:
        line = Line(connection) if rings is None else Line(connection, Ring.attach(rings[1]), Ring.attach(rings[0]))
    except FileNotFoundError:
        return  # the server ended meanwhile
    channel = Channel(line)
    built: list[Executor] = []
    failure = _failure_of(lambda: built.append(_build(channel, spec)))
    if failure is not None:
        channel.send(StartFailed(failure))
        return
    executor = built[0]
    failure = _failure_of(lambda: executor.warm_up(Hooks(channel))) if warm_up else None
    channel.send(WarmedUp(failure))
    while True:
        _do(executor, channel, *channel.next_work())


def _build(channel: Channel, spec: ExecutorSpec) -> Executor:
    executor = spec.build()
    channel.send(WorkerReady(executor.capabilities()))
    return executor


def _do(executor: Executor, channel: Channel, work: Work, arrays: list[AnyArray]) -> None:
    channel.preview_left.set()
    try:
        failure = _failure_of(lambda: _run(executor, channel, work, arrays), work.job)
    except JobCancelled:
        channel.send(WorkCancelled(work.job_id))
        return
    if failure is not None:
        channel.send(WorkFailed(work.job_id, failure))
        if failure.code is ErrorCode.WORKER_LOST:
            logger.error("this process can't use its device any more; a new one takes over")
            os._exit(LOST_DEVICE_EXIT)  # tidying up would call the device
        _free_memory()


def _run(executor: Executor, channel: Channel, work: Work, arrays: list[AnyArray]) -> None:
    hooks = Hooks(channel, work.job_id, work.previews)
    hooks.check_cancelled()
    if channel.models_changed():
        executor.look_for_models()
    started = time.perf_counter()
    output = executor.run(work.job, dict(zip(work.digests, arrays, strict=True)), hooks)
    seconds = time.perf_counter() - started
    names = tuple(output.tensors)
    results = [output.tensors[name] for name in names]
    provenance = json.dumps({**output.provenance, "engine_seconds": seconds}, allow_nan=False)
    one_off = any(map(is_one_off, work.digests))  # then so is the picture
    digests = tuple("" if one_off else digest_of(array) for array in results)
    channel.send(WorkResult(work.job_id, names, digests, provenance), *results)


def _failure_of(work: Callable[[], None], job: Job | None = None) -> ErrorInfo | None:
    """Do it; what the user is told if it fails. Lets JobCancelled through. Tracebacks go to the log only."""
    try:
        work()
    except JobCancelled:
        raise
    except ScumbleError as error:
        return error.info
    except Exception as error:
        reference = secrets.token_hex(4)
        logger.exception("reference %s", reference)
        return _describe(error, reference, job)
    return None


def _describe(error: Exception, reference: str, job: Job | None) -> ErrorInfo:
    if is_out_of_memory(error):
        return _out_of_memory(job)
    if is_lost_device(error):
        return ErrorInfo(
            ErrorCode.WORKER_LOST,
            f"the graphics device failed and is being started anew; reference {reference} in the server's log",
            retryable=True,
            remedy=Remedy("Try again", RemedyAction.RETRY),
        )
    return ErrorInfo(
        ErrorCode.INTERNAL,
        f"something went wrong in the server; reference {reference} in its log",
        remedy=Remedy("Report it, with that part of the log"),
    )


def is_out_of_memory(error: Exception) -> bool:
    """By name and words: what torch raises differs by device, and torch may not even be imported."""
    names = {kind.__name__ for kind in type(error).__mro__}
    words = str(error).lower()
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )


def _out_of_memory(job: Job | None) -> ErrorInfo:
    message = "the device ran out of memory"
    if isinstance(job, GenerateJob) and max(job.width, job.height) > 64:
        size = f"{max(job.width // 16, 1) * 8}x{max(job.height // 16, 1) * 8}"
        remedy = Remedy(f"Use a smaller size, such as {size}", RemedyAction.REDUCE_SIZE, size)
        return ErrorInfo(ErrorCode.OUT_OF_MEMORY, f"{message} at {job.width}x{job.height}", "job.width", remedy=remedy)
    remedy = Remedy("Close other programs that use the device, or use smaller images")
    return ErrorInfo(ErrorCode.OUT_OF_MEMORY, message, retryable=True, remedy=remedy)


def is_lost_device(error: Exception) -> bool:
    """After such an error every later call of this process to the device fails too."""
    return type(error).__name__ == "AcceleratorError" or str(error).startswith(("CUDA error", "HIP error"))


def _free_memory() -> None:
    """A failed job's tensors hang on tracebacks and caches; the next job may need the room."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
