"""The engine, but at each new stage of a job it asks whether it may go on: for ``scumble serve --executor``.

``SCUMBLE_TEST_STAGES`` is the port on this machine where somebody answers (see ``test_accidents_at_each_stage``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from multiprocessing.connection import Client, Connection

from scumble_server.engine.executor import EngineExecutor
from scumble_server.service import JobHooks, Output
from scumble_shared.job import Job
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

__all__ = ["Stopping"]


class Stopping:
    def __init__(self) -> None:
        self._engine = EngineExecutor((), "cpu")

    def capabilities(self) -> Capabilities:
        return self._engine.capabilities()

    def look_for_models(self) -> None:
        self._engine.look_for_models()

    def warm_up(self, hooks: JobHooks) -> None:
        self._engine.warm_up(hooks)

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        with Client(("127.0.0.1", int(os.environ["SCUMBLE_TEST_STAGES"]))) as line:
            return self._engine.run(job, tensors, _Asking(hooks, line))


class _Asking:
    """Hooks that wait at each change of stage until they are answered, or nobody is there to answer any longer."""

    def __init__(self, hooks: JobHooks, line: Connection) -> None:
        self._hooks, self._line, self._stage = hooks, line, ""

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        self._hooks.progress(stage, step, steps, fraction)
        if stage != self._stage:
            self._stage = stage
            with contextlib.suppress(OSError, EOFError):
                self._line.send_bytes(stage.encode())
                self._line.recv_bytes()

    def wants_preview(self) -> bool:
        return self._hooks.wants_preview()

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        self._hooks.preview(image, step, steps)

    def check_cancelled(self) -> None:
        self._hooks.check_cancelled()
