"""Jobs through a real worker process: what is told, in which order, and what survives which accident."""

from __future__ import annotations

import asyncio
import json
import os

import numpy as np
from brush import paint  # the spawned process imports it by the same name
from scumble_server.service import (
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
)
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import digest_of


def job(prompt="", **changes):
    return GenerateJob(prompt, **{"model": "brush", "width": 64, "height": 48, "num_inference_steps": 4, **changes})


async def done(service, listener, what, job_id="j"):
    heard = listener()
    service.submit(job_id, what, "artist", heard)
    await heard.end()
    return heard


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 60))


class TestAJob:
    def test_comes_back_with_the_pixels_the_executor_made(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = await done(service, listener, job("waves", seed=7))
            result = heard.updates[-1]
            assert isinstance(result, JobResultUpdate)
            np.testing.assert_array_equal(result.tensors["image/0"], paint(job("waves", seed=7)))
            assert result.digests["image/0"] == digest_of(result.tensors["image/0"])
            facts = json.loads(result.provenance)
            assert facts["executor"] == "brush"
            assert facts["pid"] != os.getpid()
            assert 0 < facts["engine_seconds"] < 10

        run(scenario())

    def test_is_told_step_by_step_after_its_start(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = await done(service, listener, job())
            start = next(i for i, update in enumerate(heard.updates) if isinstance(update, JobStartedUpdate))
            steps = [update for update in heard.updates[start:] if isinstance(update, JobProgressUpdate)]
            assert [(s.stage, s.step, s.fraction) for s in steps] == [("denoising", i, i / 4) for i in (1, 2, 3, 4)]

        run(scenario())
