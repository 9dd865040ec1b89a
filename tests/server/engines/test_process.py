"""A server process whose pictures ComfyUI or AUTOMATIC1111 paints: the whole way, over real sockets on both sides."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from comfyui_server import noise
from scumble_server.net.blocking_client import connect
from scumble_shared.job import Control, GenerateJob, View
from scumble_shared.messages import Preview, Progress
from scumble_shared.tensor import digest_of
from test_engines import CAMERA, DEPTH

JOB = GenerateJob("a wall", model="dream", width=64, height=48, num_inference_steps=3, sampler="euler", seed=5)


@pytest.fixture(params=["comfyui", "a1111"])
def engine(request):
    return request.param


@pytest.fixture
def program(request, engine):
    return request.getfixturevalue({"comfyui": "comfyui", "a1111": "webui"}[engine])


@contextmanager
def serving(home, *arguments):
    """A client of a server of our own, which ends with it."""
    environment = {**os.environ, "SCUMBLE_HOME": str(home), "SCUMBLE_MODELS": str(home), "OMP_NUM_THREADS": "1"}
    token = home / "token"
    token.write_text("t" * 43)
    token.chmod(0o600)
    command = [sys.executable, "-m", "scumble_server.cli", "serve", "--exit-with-stdin", "--token-file", str(token)]
    with subprocess.Popen(
        [*command, *arguments], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        said = process.stdout.readline()
        assert "ready at" in said
        url = next(word for word in said.split() if word.startswith("ws://"))
        try:
            with connect(url, "t" * 43) as client:
                yield client
        finally:
            process.stdin.close()
            process.wait(20)


def test_pictures_with_previews_and_one_that_is_cancelled(tmp_path, program, engine):
    """The program goes on once a preview was heard of, and only then."""
    job = replace(JOB, controls=(Control("depth"),), view=View(CAMERA, depth=digest_of(DEPTH)))
    heard = []
    program.paced = True

    def listen(arrived):
        heard.append(arrived.message)
        if isinstance(arrived.message, Preview):
            for _ in range(JOB.num_inference_steps):
                program.step.release()

    class EnoughError(Exception):
        pass

    def stop(arrived):
        if isinstance(arrived.message, Preview):
            raise EnoughError

    with serving(tmp_path, "--engine", engine, "--engine-url", program.url) as client:
        program.step.release()
        result = client.run_job(job, {digest_of(DEPTH): DEPTH}, listen, previews=True)
        np.testing.assert_array_equal(result.tensors["image/0"], noise(5, "a wall", (48, 64)))
        assert any(isinstance(message, Progress) and message.step for message in heard)
        assert {model.id for model in client.capabilities.models} == {"dream", "bigxl"}

        program.step = threading.Semaphore(1)
        with pytest.raises(EnoughError):
            client.run_job(replace(JOB, num_inference_steps=500), None, stop, previews=True)
        assert program.interrupted.wait(20)

        program.paced = False
        after = client.run_job(replace(JOB, seed=6))
        np.testing.assert_array_equal(after.tensors["image/0"], noise(6, "a wall", (48, 64)))
