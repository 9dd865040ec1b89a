"""``scumble serve`` as a real process: found by its record, ends with its parent, refuses what is unsafe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scumble_server.net.blocking_client import connect
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, LibraryJob
from scumble_shared.library import read_answer
from scumble_shared.runtime import process_runs, read_install_record, read_records
from scumble_shared.tensor import digest_of

WORKERS = Path(__file__).resolve().parent.parent / "workers"  # has the brush, which paints without torch
SERVE = [sys.executable, "-m", "scumble_server.cli", "serve", "--executor", "brush:Brush"]
JOB = GenerateJob("secret wish", model="brush", width=64, height=64, sampler="euler", num_inference_steps=2)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(WORKERS))


@contextmanager
def serving(*arguments):
    """A server that is ready; its process, its record and (at the end) what it wrote."""
    process = subprocess.Popen(
        [*SERVE, "--exit-with-stdin", "--instance-id", "mine", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "is ready at" in process.stdout.readline()
        (record,) = [record for record in read_records() if record.instance_id == "mine"]
        yield process, record
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def failing(*arguments):
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    return done.stderr


class TestServing:
    def test_a_job_through_a_real_server_and_worker(self):
        image = np.full((64, 64, 3), 5, np.uint8)
        with serving() as (process, record):
            assert record.pid == process.pid
            with connect(record.url, record.token) as client:
                job = GenerateJob("x", model="brush", width=64, height=64, init_image=digest_of(image))
                result = client.run_job(job, {digest_of(image): image})
            np.testing.assert_array_equal(result.tensors["image/0"], 255 - image)

    def test_looks_after_models_whatever_does_the_work(self):
        with serving() as (_, record), connect(record.url, record.token) as client:
            answer = read_answer(client.run_job(LibraryJob("list")).tensors["answer"])
        assert "starter" in {model.id for model in answer.listing.models}

    def test_ends_with_its_parent_and_leaves_nothing(self):
        with serving() as (process, record):
            process.stdin.close()
            assert process.wait(20) == 0
        assert read_records() == []
        assert not process_runs(record.pid)

    @pytest.mark.skipif(os.name != "posix", reason="Windows ends processes otherwise")
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
    def test_ends_when_asked(self, name):
        with serving() as (process, _):
            process.send_signal(getattr(signal, name))
            assert process.wait(20) == 0
        assert read_records() == []

    def test_says_nothing_private(self):
        with serving() as (process, record):
            with connect(record.url, record.token) as client:
                client.run_job(JOB)
            process.stdin.close()
            written = process.stdout.read() + process.stderr.read()
            process.wait(20)
        assert record.token not in written
        assert "secret wish" not in written

    def test_leaves_word_how_to_start_it_again(self):
        with serving():
            install = read_install_record()
        assert install.command == (sys.executable, "-m", "scumble_server.cli", "serve")

    def test_encrypted_by_a_certificate_of_its_own(self):
        with serving("--self-signed") as (_, record):
            assert record.url.startswith("wss://")
            with connect(record.url, record.token, fingerprint=record.fingerprint) as client:
                client.run_job(JOB)

    def test_with_a_given_token(self, tmp_path):
        token = tmp_path / "token"
        token.write_text("0123456789abcdef0123456789abcdef\n")
        with serving("--token-file", str(token)) as (_, record):
            assert record.token == "0123456789abcdef0123456789abcdef"
            with pytest.raises(ScumbleError) as caught, connect(record.url, record.token[:-1]):
                pass
            assert caught.value.code is ErrorCode.UNAUTHORIZED


class TestRefusing:
    def test_other_machines_without_encryption(self):
        assert "--self-signed" in failing("--host", "0.0.0.0")

    def test_a_port_that_is_taken(self):
        with serving() as (_, record):
            assert str(record.port) in failing("--port", str(record.port))

    def test_a_token_that_is_easy_to_guess(self, tmp_path):
        token = tmp_path / "token"
        token.write_text("1234")
        written = failing("--token-file", str(token))
        assert "1234" not in written.replace(str(tmp_path), "")

    def test_a_certificate_that_is_none(self, tmp_path):
        assert "missing.pem" in failing("--tls-cert", str(tmp_path / "missing.pem"))


def test_the_server_process_never_loads_torch():
    code = "import sys, scumble_server.commands.serve; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
