"""A small real executor for the worker process: paints waves by seed, step by step, and misbehaves on request.

The prompt is a list of words: "crash", "hang", "oom", "broken", "lost-device", "no-model", "slow" act at the second
step; "cold" (an argument, too) is about start-up.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scumble_server.service import JobHooks, Output
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, Job
from scumble_shared.messages import Capabilities, ModelInfo
from scumble_shared.tensor import AnyArray, Digest


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class AcceleratorError(RuntimeError):
    """Named as torch's."""


BRUSH = ModelInfo("brush", "Brush", "test", "euler", 4, 1.0, 64, 64, control_kinds=("depth", "normal"))


class Brush:
    """start_log: a file that gets a line per start. fail_starts: how many of them end in a crash. warm_steps: how many
    tenths of a second it takes to warm up."""

    def __init__(
        self,
        start_log: str = "",
        fail_starts: int = 0,
        die_warming: bool = False,
        refuse: str = "",
        warm_steps: int = 0,
    ) -> None:
        self._die_warming = die_warming
        self._warm_steps = warm_steps
        self._runs = 0
        self._looks = 0
        starts = 0
        if start_log:
            path = Path(start_log)
            starts = len(path.read_text().splitlines()) if path.exists() else 0
            path.write_text("start\n" * (starts + 1))
        if starts < fail_starts:
            os._exit(9)
        if refuse:
            raise ScumbleError(ErrorCode.MODEL_MISSING, refuse)

    def capabilities(self) -> Capabilities:
        return Capabilities(tasks=("generate",), samplers=("euler",), device="test", models=(BRUSH,))

    def look_for_models(self) -> None:
        self._looks += 1

    def warm_up(self, hooks: JobHooks) -> None:
        hooks.progress("loading", 1, 2, 0.5)
        if self._die_warming:
            os._exit(9)
        for _ in range(self._warm_steps):
            threading.Event().wait(0.1)
            hooks.progress("loading", 1, 2, 0.5)
        hooks.progress("loading", 2, 2, 1.0)

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        assert isinstance(job, GenerateJob)
        self._runs += 1
        words = job.prompt.split()
        previews = 0
        canvas = paint(job)
        for step in range(job.num_inference_steps):
            hooks.check_cancelled()
            hooks.progress("denoising", step + 1, job.num_inference_steps, (step + 1) / job.num_inference_steps)
            if hooks.wants_preview():
                previews += 1
                hooks.preview(canvas[::8, ::8], step + 1, job.num_inference_steps)
            if step == 1:
                misbehave(words, job)
            if "slow" in words:
                threading.Event().wait(0.02)
        result = {"image/0": canvas}
        if job.init_image is not None:
            result["image/0"] = np.asarray(255 - tensors[job.init_image])
        if "float64" in words:
            result["image/0"] = canvas / 255.0
        facts = {"previews": previews, "pid": os.getpid(), "order": self._runs, "looks": self._looks}
        return Output(result, {"executor": "brush", **facts})


def misbehave(words: list[str], job: GenerateJob) -> None:
    if "crash" in words:
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    if "hang" in words:
        threading.Event().wait()
    if "oom" in words:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if "broken" in words:
        raise ZeroDivisionError("secret detail")
    if "lost-device" in words:
        raise AcceleratorError("CUDA error: device-side assert triggered")
    if "no-model" in words:
        raise ScumbleError(ErrorCode.MODEL_MISSING, f"there is no model {job.model}", field="job.model")


def paint(job: GenerateJob) -> AnyArray:
    """uint8 H x W x 3: what a job's picture is, by its prompt and seed alone."""
    key = int.from_bytes(hashlib.sha256(f"{job.prompt}:{job.seed}".encode()).digest()[:8], "little")
    return np.random.default_rng(key).integers(0, 256, (job.height, job.width, 3), dtype=np.uint8)


class NeverReady(Brush):
    """Its engine takes for ever to build, as a large one may seem to."""

    def __init__(self) -> None:
        threading.Event().wait()
