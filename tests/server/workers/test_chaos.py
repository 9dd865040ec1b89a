"""Anything in any order, with a process that gets killed now and then: every job ends once, and nothing is kept."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress

import numpy as np
import pytest
from brush import paint
from scumble_server.service import JobCancelledUpdate, JobFailedUpdate, JobResultUpdate
from scumble_shared.errors import ErrorCode
from scumble_shared.job import GenerateJob
from scumble_shared.limits import Limits
from scumble_shared.tensor import digest_of

PROMPTS = ("", "", "slow", "oom", "broken", "crash", "lost-device")
IMAGES = [np.full((16, 16, 3), value, np.uint8) for value in range(6)]


@pytest.mark.parametrize("seed", range(3))
def test_every_job_ends_once_and_the_books_are_empty(brush_service, listener, seed):
    random_ = random.Random(seed)
    jobs = {}

    def submit(service):
        number = len(jobs)
        image = random_.choice([None, *IMAGES])
        address = None if image is None else digest_of(image)
        if address is not None:
            service.put(address, image)
        job = GenerateJob(
            random_.choice(PROMPTS), width=16, height=16, num_inference_steps=8, seed=number, init_image=address
        )
        heard = listener()
        service.submit(str(number), job, random_.choice("abc"), heard)
        jobs[str(number)] = (job, image, heard)

    async def scenario():
        async with brush_service(limits=Limits(store_bytes=20_000)) as service:
            for _ in range(60):
                match random_.randrange(8):
                    case 0 if jobs:
                        service.cancel(random_.choice(list(jobs)))
                    case 1 if service.status().worker_pid:
                        with suppress(ProcessLookupError):  # gone already, and not yet noticed
                            os.kill(service.status().worker_pid, getattr(signal, "SIGKILL", signal.SIGTERM))
                    case 2:
                        await asyncio.sleep(random_.uniform(0, 0.05))  # lets the worker get on; nothing waits for it
                    case _:
                        submit(service)
            for _, _, heard in jobs.values():
                await heard.end()
            status = service.status()
            assert (status.queued, status.running) == (0, 0)
            assert status.succeeded + status.failed + status.cancelled == len(jobs)
            assert service._book.store.pinned_bytes == 0  # a leak here would fill the store in a day
            service.submit("last", GenerateJob("", width=16, height=16), "a", last := listener())
            assert isinstance(await last.end(), JobResultUpdate)

    asyncio.run(asyncio.wait_for(scenario(), 120))
    for job, image, heard in jobs.values():
        match heard.updates[-1]:
            case JobResultUpdate(tensors=tensors):
                np.testing.assert_array_equal(tensors["image/0"], paint(job) if image is None else 255 - image)
            case JobFailedUpdate(error=error):
                assert error.code in (ErrorCode.WORKER_LOST, ErrorCode.OUT_OF_MEMORY, ErrorCode.INTERNAL)
            case end:
                assert isinstance(end, JobCancelledUpdate)
