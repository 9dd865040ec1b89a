"""The worker process by itself, spoken to over its pipe."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from scumble_server.workers.process import is_lost_device, is_out_of_memory, run_worker
from scumble_server.workers.spec import ExecutorSpec
from scumble_server.workers.wire import (
    CancelWork,
    Line,
    PreviewTaken,
    StartFailed,
    StopWorker,
    WarmedUp,
    Work,
    WorkCancelled,
    WorkerReady,
    WorkFailed,
    WorkPreview,
    WorkProgress,
    WorkResult,
)
from scumble_shared.errors import ErrorCode, ErrorInfo
from scumble_shared.job import GenerateJob


def job(prompt="", **changes):
    return GenerateJob(prompt, **{"width": 64, "height": 48, "num_inference_steps": 4, **changes})


class Conversation:
    def __init__(self, connection, process):
        self.connection = connection
        self.process = process

    def say(self, message, *arrays):
        Line(self.connection).send(message, arrays)

    def hear(self):
        assert self.connection.poll(30), "the worker says nothing"
        return Line(self.connection).receive()

    def hear_until(self, kind, fits=lambda message: True):
        """All messages up to and with the first of ``kind`` that fits."""
        heard = []
        while not heard or not (isinstance(heard[-1], kind) and fits(heard[-1])):
            heard.append(self.hear()[0])
        return heard


@contextmanager
def worker(warm_up=True, **arguments):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    spec = ExecutorSpec("brush:Brush", arguments)
    process = context.Process(target=run_worker, args=(theirs, None, spec, warm_up, logging.WARNING), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Conversation(ours, process)
    finally:
        ours.close()
        process.join(10)
        assert process.exitcode is not None, "the worker outlived its pipe"


def test_says_what_it_can_do_then_warms_up_then_is_ready():
    with worker() as talk:
        heard = talk.hear_until(WarmedUp)
        assert [type(message) for message in heard] == [WorkerReady, WorkProgress, WorkProgress, WarmedUp]
        assert heard[0].capabilities.models[0].id == "brush"


def test_makes_no_second_preview_before_the_first_was_taken():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job(num_inference_steps=50)))
        heard = talk.hear_until(WorkResult)
        assert sum(isinstance(message, WorkPreview) for message in heard) == 1


def test_makes_the_next_preview_once_the_first_was_taken():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job("slow", num_inference_steps=100)))
        talk.hear_until(WorkPreview)
        talk.say(PreviewTaken())
        talk.hear_until(WorkPreview)
        talk.say(CancelWork("j"))
        talk.hear_until(WorkCancelled)


def test_a_cancel_is_seen_while_the_work_runs():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job("slow", num_inference_steps=10_000)))
        talk.hear_until(WorkProgress, lambda message: message.step == 3)
        talk.say(CancelWork("j"))
        talk.hear_until(WorkCancelled)


def test_a_cancel_of_the_job_before_leaves_the_next_alone():
    with worker(warm_up=False) as talk:
        talk.say(Work("first", job()))
        talk.hear_until(WorkResult)
        talk.say(CancelWork("first"))
        talk.say(Work("second", job()))
        assert talk.hear_until(WorkResult)[-1].job_id == "second"


def test_a_job_cancelled_before_it_was_begun_is_not_begun():
    with worker() as talk:
        talk.say(CancelWork("j"))
        talk.say(Work("j", job()))
        heard = talk.hear_until(WorkCancelled)
        assert not any(isinstance(message, WorkProgress) and message.job_id == "j" for message in heard)


def test_tensors_cross_unchanged_and_can_be_written_to():
    image = np.random.default_rng(1).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job(init_image="a" * 64), ("a" * 64,)), image)
        while not isinstance((heard := talk.hear())[0], WorkResult):
            pass
        np.testing.assert_array_equal(heard[1][0], 255 - image)
        heard[1][0][:] = 0


def test_ends_with_its_pipe_even_in_the_midst_of_work():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job("hang")))
        talk.hear_until(WorkProgress, lambda message: message.step == 2)
        talk.connection.close()
        talk.process.join(10)
        assert talk.process.exitcode == 0


def test_ends_when_told_to_even_in_the_midst_of_work():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job("hang")))
        talk.hear_until(WorkProgress, lambda message: message.step == 2)
        talk.say(StopWorker())
        talk.process.join(10)
        assert talk.process.exitcode == 0


def test_interrupting_from_the_keyboard_is_the_servers_business():
    with worker(warm_up=False) as talk:
        talk.hear_until(WarmedUp)
        os.kill(talk.process.pid, signal.SIGINT)
        talk.say(Work("j", job()))
        talk.hear_until(WorkResult)


def test_says_why_it_cannot_start():
    with worker(refuse="no model") as talk:
        assert talk.hear()[0] == StartFailed(ErrorInfo(ErrorCode.MODEL_MISSING, "no model"))
        talk.process.join(10)


def test_a_result_that_cannot_travel_is_an_error_of_that_job():
    with worker(warm_up=False) as talk:
        talk.say(Work("j", job("float64")))
        assert talk.hear_until(WorkFailed)[-1].error.code is ErrorCode.INTERNAL
        talk.say(Work("k", job()))
        talk.hear_until(WorkResult)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_out_of_memory_is_recognised_on_every_device(error):
    assert is_out_of_memory(error)


def test_torchs_own_out_of_memory_error_is_recognised():
    torch = pytest.importorskip("torch")
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_a_failed_assert_on_the_device_means_the_process_must_go():
    assert is_lost_device(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_lost_device(RuntimeError("shapes differ"))
