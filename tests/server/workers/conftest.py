"""A worker service on a real spawned process, and a listener that waits for what happens instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from scumble_server.service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobPreviewUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
    JobUpdate,
)
from scumble_server.workers.service import WorkerService
from scumble_server.workers.spec import ExecutorSpec
from scumble_server.workers.supervisor import SupervisorPolicy

FAST = SupervisorPolicy(restart_delay=0.01, restart_delay_max=0.05, stop_grace=2.0, cancel_grace=0.3)
FINAL = (JobResultUpdate, JobFailedUpdate, JobCancelledUpdate)


class Listener:
    """Collects a job's updates; ``await until(...)`` for one of a kind."""

    def __init__(self) -> None:
        self.updates: list[JobUpdate] = []
        self._news = asyncio.Event()

    def __call__(self, update: JobUpdate) -> None:
        assert not (self.updates and isinstance(self.updates[-1], FINAL)), f"{update} after the end"
        self.updates.append(update)
        self._news.set()

    async def until(self, fits: Callable[[JobUpdate], bool]) -> JobUpdate:
        async with asyncio.timeout(30):
            while True:
                for update in self.updates:
                    if fits(update):
                        return update
                self._news.clear()
                await self._news.wait()

    async def started(self) -> JobUpdate:
        return await self.until(lambda update: isinstance(update, JobStartedUpdate))

    async def step(self, step: int) -> JobUpdate:
        """Of the work itself; the loading of the model before it has steps, too."""

        def reached(update: JobUpdate) -> bool:
            return isinstance(update, JobProgressUpdate) and update.stage == "denoising" and update.step >= step

        return await self.until(reached)

    async def end(self) -> JobUpdate:
        return await self.until(lambda update: isinstance(update, FINAL))

    @property
    def previews(self) -> list[JobPreviewUpdate]:
        return [update for update in self.updates if isinstance(update, JobPreviewUpdate)]


@pytest.fixture
def brush_service():
    """``async with brush_service(...) as service``: started, and closed at the end."""

    @asynccontextmanager
    async def serve(policy=FAST, **options):
        spec = ExecutorSpec(options.pop("target", "brush:Brush"), options.pop("arguments", {}))
        service = WorkerService(spec, policy=policy, **options)
        service.start()
        try:
            yield service
        finally:
            await service.close()

    return serve


@pytest.fixture
def listener():
    return Listener
