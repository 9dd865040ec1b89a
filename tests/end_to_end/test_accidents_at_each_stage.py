"""At each stage of texturing something happens: the scene is as before, the error is typed, and the next job works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Listener
from pathlib import Path

import bpy
import pytest

from .conftest import SERVER_PYTHON
from .test_texture_all import cube, fingerprint, part, refusal, until, workers_of  # noqa: F401 - fixtures, too

STAGES = ("placing", "conditioning", "denoising", "decoding", "projecting", "rendering", "refining", "maps")
"""In the order they come, of a job that has them all."""

HARD = ("projecting", "maps")
"""Where processes are killed here; ``test_texture_all`` has earlier stages. A new one takes seconds to be there."""

WHOLE = {"num_inference_steps": 2, "refine_strength": 0.5, "maps": ("roughness",)}


class Stages:
    """Answers the engine; while one of its stages is ``held``, the engine waits there."""

    def __init__(self) -> None:
        self._listener = Listener(("127.0.0.1", 0))
        self._held = ""
        self.reached, self._released = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def port(self) -> int:
        return self._listener.address[1]

    def hold(self, stage: str) -> None:
        self._held = stage
        self.reached.clear()
        self._released.clear()

    def release(self) -> None:
        self._held = ""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept(),), daemon=True).start()

    def _answer(self, line) -> None:
        with contextlib.suppress(OSError, EOFError), line:  # the worker's end
            while True:
                if line.recv_bytes().decode() == self._held:
                    self.reached.set()
                    self._released.wait()
                line.send_bytes(b"go on")


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    answering = Stages()
    yield answering
    answering.close()


@pytest.fixture(scope="module")
def servers(stages) -> Iterator[list[subprocess.Popen]]:
    """Those that were started, the latest last."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        process.kill()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def server(api, preferences, servers, stages) -> subprocess.Popen:
    """A running one, that Blender finds by itself."""
    preferences.connection = "RUNNING"
    if not servers or servers[-1].poll() is not None:
        command = [SERVER_PYTHON, "-m", "scumble_server.cli", "serve", "--exit-with-stdin"]
        command += ["--executor", "stopping_engine:Stopping"]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "PYTHONPATH": path, "SCUMBLE_TEST_STAGES": str(stages.port)}
        servers.append(
            subprocess.Popen(
                list(map(str, command)), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert servers[-1].stdout.readline(), "the server ended at once"
    yield servers[-1]
    stages.release()
    api.disconnect()


@pytest.fixture
def held(api, server, stages, scene, cube):  # noqa: F811
    """Begins a job that waits at a stage; returns what the file was before, and the job's id."""

    def begin(stage: str) -> tuple[object, str]:
        before = fingerprint(scene)
        stages.hold(stage)
        record = api.texture_around([cube], wait=False, **WHOLE)
        until(api, stages.reached.is_set, stage)
        return before, record.id

    return begin


def worker_of(server: subprocess.Popen) -> int:
    (worker,) = workers_of(server.pid)
    return worker


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)


@pytest.mark.parametrize("stage", STAGES)
def test_cancelled(api, held, stages, scene, stage):
    before, job = held(stage)
    api.cancel(job)
    stages.release()
    until(api, lambda: api.job(job).state.ended, "the end")
    assert api.job(job).state == "cancelled"
    assert fingerprint(scene) == before


@pytest.mark.parametrize("stage", STAGES)
def test_disconnected(api, held, stages, scene, cube, stage):  # noqa: F811
    before, job = held(stage)
    api.disconnect()
    stages.release()
    failed = api.job(job)
    assert (failed.state, failed.error.code) == ("failed", "connection_lost")
    assert failed.error.remedy.action == "retry"
    assert fingerprint(scene) == before


@pytest.mark.parametrize("stage", HARD)
def test_a_killed_server(api, held, server, scene, stage):
    before, job = held(stage)
    server.kill()
    server.wait(30)
    error = refusal(lambda: api.wait(job, 30.0))
    assert error.code in ("server_unreachable", "connection_lost")
    assert error.remedy is not None
    assert fingerprint(scene) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes as Linux has them")
@pytest.mark.parametrize("stage", HARD)
def test_a_worker_that_dies(api, held, server, stages, scene, stage):
    before, job = held(stage)
    kill(worker_of(server))
    stages.release()
    assert refusal(lambda: api.wait(job, 60.0)).code == "worker_lost"
    assert fingerprint(scene) == before


def test_after_all_that_a_texture_is_made_and_undone_in_one_step(api, server, stages, scene, cube):  # noqa: F811
    before = fingerprint(scene)
    assert api.texture_around([cube], **WHOLE).state == "done"
    assert cube.active_material.name == "Scumble Cube"
    bpy.ops.ed.undo()
    assert fingerprint(bpy.context.scene) == before


def test_disconnected_before_anything_was_sent(api, server, stages, scene, cube):  # noqa: F811
    before = fingerprint(scene)
    api.connect()
    job = api.texture_around([cube], wait=False, **WHOLE).id
    api.disconnect()
    assert api.job(job).error.code == "connection_lost"
    assert fingerprint(scene) == before


def test_cancelled_in_the_queue(api, server, stages, scene, cube):  # noqa: F811
    before = fingerprint(scene)
    stages.hold("denoising")
    first = api.generate(wait=False, result_actions=set()).id
    until(api, stages.reached.is_set, "the first job")
    second = api.texture_around([cube], wait=False, **WHOLE).id
    until(api, lambda: api.job(second).position > 0, "the queue")
    api.cancel(second)
    until(api, lambda: api.job(second).state.ended, "its end")
    assert api.job(second).state == "cancelled"
    stages.release()
    assert api.wait(first, 60.0).state == "done"
    assert fingerprint(scene) == before
