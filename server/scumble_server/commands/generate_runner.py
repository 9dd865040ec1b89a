"""Where ``scumble generate`` has its work done: in this process, or by a server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from scumble_shared.client import Arrived
from scumble_shared.job import GenerateJob, UpscaleJob
from scumble_shared.messages import Capabilities, Progress
from scumble_shared.runtime import read_records
from scumble_shared.tensor import AnyArray, Digest

from ..demo.progress_bar import ProgressBar
from ..net.blocking_client import BlockingClient, connect
from ..service import Executor

__all__ = ["Finished", "LocalRunner", "RemoteRunner", "Runner", "remote_runner"]


@dataclass(frozen=True, slots=True)
class Finished:
    """images: uint8 H x W x 3, in the order of the batch; of an UpscaleJob as that has it. provenance: JSON text."""

    images: tuple[AnyArray, ...]
    provenance: str


class Runner(Protocol):
    def capabilities(self) -> Capabilities: ...

    def run(self, job: GenerateJob | UpscaleJob, tensors: Mapping[Digest, AnyArray]) -> Finished:
        """Shows progress on standard error. Raises ScumbleError."""


class _TerminalHooks:
    """JobHooks for one who waits at a terminal; Ctrl-C ends the process itself."""

    def __init__(self) -> None:
        self._bar = ProgressBar(sys.stderr)

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        self._bar.update(stage, fraction, f"{step}/{steps}" if steps else "")

    def wants_preview(self) -> bool:
        return False

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        """Not asked for."""

    def check_cancelled(self) -> None:
        """Nobody cancels but by Ctrl-C."""

    def done(self, seconds: float) -> None:
        self._bar.done("generated", seconds)


class LocalRunner:
    """With an executor in this process."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def capabilities(self) -> Capabilities:
        return self._executor.capabilities()

    def run(self, job: GenerateJob | UpscaleJob, tensors: Mapping[Digest, AnyArray]) -> Finished:
        hooks = _TerminalHooks()
        begin = time.perf_counter()
        output = self._executor.run(job, tensors, hooks)
        hooks.done(time.perf_counter() - begin)
        return Finished(_images(output.tensors, job), json.dumps(dict(output.provenance)))


class RemoteRunner:
    """By a server."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client

    def capabilities(self) -> Capabilities:
        return self._client.capabilities

    def run(self, job: GenerateJob | UpscaleJob, tensors: Mapping[Digest, AnyArray]) -> Finished:
        hooks = _TerminalHooks()

        def heard(arrived: Arrived) -> None:
            if isinstance(message := arrived.message, Progress):
                hooks.progress(message.stage, message.step, message.steps, message.fraction)

        begin = time.perf_counter()
        result = self._client.run_job(job, tensors, heard)
        hooks.done(time.perf_counter() - begin)
        return Finished(_images(result.tensors, job), result.provenance)


@contextmanager
def remote_runner(url: str, token: str = "", fingerprint: str = "") -> Iterator[RemoteRunner]:
    """Token and certificate of a server on this machine are found in its record. Raises ScumbleError."""
    record = next((record for record in read_records() if record.url == url.rstrip("/")), None)
    if record is not None:
        token, fingerprint = token or record.token, fingerprint or record.fingerprint
    with connect(url, token, fingerprint=fingerprint) as client:
        yield RemoteRunner(client)


def _images(tensors: Mapping[str, AnyArray], job: GenerateJob | UpscaleJob) -> tuple[AnyArray, ...]:
    count = job.batch_size if isinstance(job, GenerateJob) else 1
    return tuple(tensors[f"image/{index}"] for index in range(count))
