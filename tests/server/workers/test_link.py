"""One spawned process as the event loop sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
from scumble_server.workers.link import WorkerLink, describe_exit
from scumble_server.workers.spec import ExecutorSpec
from scumble_server.workers.wire import CancelWork, WarmedUp, WorkerReady


def test_words_for_how_a_process_ended():
    assert describe_exit(70) == "exit status 70"
    assert describe_exit(-signal.SIGTERM) == "SIGTERM"
    assert describe_exit(-120) == "signal 120"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_kill_nobody_asked_for_hints_at_memory():
    assert "memory" in describe_exit(-signal.SIGKILL)


class Ear:
    def __init__(self):
        self.messages = []
        self.exitcode = None
        self.ended = asyncio.Event()
        self.ready = asyncio.Event()

    def hear(self, message, arrays):
        assert self.exitcode is None, "the end comes last"
        self.messages.append(message)
        if isinstance(message, WarmedUp):
            self.ready.set()

    def end(self, exitcode):
        self.exitcode = exitcode
        self.ended.set()


def linked(scenario):
    async def run():
        ear = Ear()
        spec = ExecutorSpec("brush:Brush")
        link = WorkerLink(spec, asyncio.get_running_loop(), ear.hear, ear.end, warm_up=False)
        async with asyncio.timeout(30):
            await ear.ready.wait()
            await scenario(link, ear)
            await ear.ended.wait()

    asyncio.run(run())


def test_stopping_ends_it_well_and_tells_last():
    async def scenario(link, ear):
        await link.stop(10.0)
        assert ear.exitcode == 0
        assert [type(message) for message in ear.messages] == [WorkerReady, WarmedUp]

    linked(scenario)


def test_what_is_sent_to_one_that_ended_is_lost_without_harm():
    async def scenario(link, ear):
        link.kill()
        await ear.ended.wait()
        link.send(CancelWork("j"))
        assert ear.exitcode != 0

    linked(scenario)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_one_that_does_not_listen_is_killed_after_its_grace():
    async def scenario(link, ear):
        os.kill(link.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, link.pid, os.WSTOPPED | os.WNOWAIT)  # a signal takes effect a little later
        await link.stop(0.2)
        assert ear.exitcode == -signal.SIGKILL

    linked(scenario)


def test_its_threads_end_with_it():
    async def scenario(link, ear):
        await link.stop(10.0)

    linked(scenario)
    for thread in threading.enumerate():
        if thread.name in ("scumble-to-worker", "scumble-from-worker"):
            thread.join(5)
            assert not thread.is_alive()
