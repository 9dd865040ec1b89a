"""A small real job service in the same process: paints what a job says, one step per call of :meth:`Desk.step`.

It keeps the promises of ``scumble_server.service.JobService`` and nothing is random in it, so that a test decides
what happens when.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from scumble_server.service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobPreviewUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
    JobUpdate,
)
from scumble_shared.errors import ErrorCode, ErrorInfo, ScumbleError
from scumble_shared.job import SAMPLERS, GenerateJob, Job, tensors_of
from scumble_shared.messages import Capabilities, ControlNetInfo, ModelInfo
from scumble_shared.tensor import AnyArray, Digest, digest_of

BRUSH = ModelInfo("brush", "Brush", "sd15", "euler", 4, 1.0, 64, 64, control_kinds=("depth",))
CAPABILITIES = Capabilities(
    tasks=("generate", "control_images", "project"),
    samplers=SAMPLERS,
    device="desk",
    models=(BRUSH,),
    controlnets=(
        ControlNetInfo("depth-sd15", "Depth", "sd15", ("depth",)),
        ControlNetInfo("depth-sdxl", "Depth XL", "sdxl", ("depth",)),
    ),
)


def paint(job: GenerateJob) -> AnyArray:
    """uint8 H x W x 3: the picture of a job, by prompt and seed alone."""
    key = int.from_bytes(hashlib.sha256(f"{job.prompt}:{job.seed}".encode()).digest()[:8], "little")
    return np.random.default_rng(key).integers(0, 256, (job.height, job.width, 3), dtype=np.uint8)


@dataclass
class Task:
    job_id: str
    job: GenerateJob
    emit: Callable[[JobUpdate], None]
    previews: bool
    step: int = 0
    cancelled: bool = False


@dataclass
class Desk:
    """store_limit: bytes. A prompt "fail" fails at its first step; "for ever" ends only by a cancel."""

    store_limit: int = 1 << 30
    store: dict[Digest, AnyArray] = field(default_factory=dict)
    queue: list[Task] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    known: Capabilities = CAPABILITIES
    arriving: tuple[ModelInfo, ...] = ()
    looks: int = 0
    queue_limit: int = 64

    def capabilities(self) -> Capabilities:
        return self.known

    async def look_for_models(self) -> None:
        """Models in ``arriving`` are there from the next look on."""
        self.looks += 1
        if self.arriving:
            self.say(replace(self.known, models=(*self.known.models, *self.arriving)))
            self.arriving = ()

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        self.watchers.append(callback)

    def say(self, capabilities: Capabilities) -> None:
        self.known = capabilities
        for watcher in self.watchers:
            watcher()

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        return tuple(digest for digest in dict.fromkeys(digests) if digest not in self.store)

    def put(self, digest: Digest, array: AnyArray) -> None:
        if array.nbytes > self.store_limit:
            raise ScumbleError(ErrorCode.TOO_LARGE, "doesn't fit")
        self.store[digest] = array

    def submit(
        self, job_id: str, job: Job, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int:
        assert isinstance(job, GenerateJob)
        assert not self.missing(tensors_of(job))
        assert all(task.job_id != job_id for task in self.queue)
        if sum(self.owners[task.job_id] == owner for task in self.queue) >= self.queue_limit:
            raise ScumbleError(ErrorCode.BUSY, "too many jobs", retryable=True)
        self.owners[job_id] = owner
        self.queue.append(Task(job_id, job, emit, previews))
        return len(self.queue) - 1

    def cancel(self, job_id: str) -> bool:
        for task in self.queue:
            if task.job_id == job_id and not task.cancelled:
                task.cancelled = True
                return True
        return False

    def step(self) -> bool:
        """Do one step of the job at the head; False if there is none."""
        if not self.queue:
            return False
        task = self.queue[0]
        if task.cancelled:
            self._end(task, JobCancelledUpdate())
        elif task.step == 0:
            task.step = 1
            self.started.append(task.job_id)
            task.emit(JobStartedUpdate())
        elif task.job.prompt == "fail":
            self._end(task, JobFailedUpdate(ErrorInfo(ErrorCode.OUT_OF_MEMORY, "no room")))
        elif task.step <= task.job.num_inference_steps:
            steps = task.job.num_inference_steps
            task.emit(JobProgressUpdate("denoising", task.step, steps, task.step / steps))
            if task.previews:
                task.emit(JobPreviewUpdate(paint(task.job)[::8, ::8], task.step, steps))
            task.step += task.job.prompt != "for ever" or task.step < steps
        else:
            result = paint(task.job)
            if task.job.init_image is not None:
                result = np.asarray(255 - self.store[task.job.init_image])
            digest = digest_of(result)
            self.store[digest] = result
            self._end(task, JobResultUpdate({"image/0": result}, "{}", {"image/0": digest}))
        return True

    async def work(self) -> None:
        """Step whenever there is something to do, giving way in between, until cancelled."""
        while True:
            await asyncio.sleep(0 if self.step() else 0.001)

    def _end(self, task: Task, update: JobUpdate) -> None:
        self.queue.remove(task)
        task.emit(update)
