"""The real server process over a real socket: what a client can rely on, come what may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from brush import paint
from PIL import Image
from scumble_server.metadata import read_settings
from scumble_server.net.blocking_client import connect
from scumble_server.service import JobCancelled
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.messages import NeedTensors, Preview, Progress
from scumble_shared.runtime import read_records
from scumble_shared.tensor import digest_of

WORKERS = Path(__file__).parent / "workers"
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def job(prompt="", **changes):
    defaults = {"model": "brush", "sampler": "euler", "width": 64, "height": 48, "num_inference_steps": 4}
    return GenerateJob(prompt, **{**defaults, **changes})


class Server:
    """A process of ``scumble serve``, its folder and its record."""

    def __init__(self, process, home, record):
        self.process = process
        self.home = home
        self.record = record

    def connect(self):
        return connect(self.record.url, self.record.token)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def get(self, path):
        url = self.record.url.replace("ws://", "http://") + path
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.record.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()


@contextmanager
def serving(home, *arguments):
    environment = {
        **os.environ,
        "SCUMBLE_HOME": str(home),
        "PYTHONPATH": str(WORKERS),
        "OMP_NUM_THREADS": "1",
        "SCUMBLE_MODELS": str(home / "models"),
    }
    command = [sys.executable, "-m", "scumble_server.cli", "serve", "--exit-with-stdin", *arguments]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    try:
        assert "ready at" in process.stdout.readline()
        drain.start()
        (record,) = (record for record in records_in(home) if record.pid == process.pid)
        yield Server(process, home, record)
    finally:
        process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        process.stdout.close()


def records_in(home):
    before = os.environ.get("SCUMBLE_HOME")
    os.environ["SCUMBLE_HOME"] = str(home)
    try:
        return read_records()
    finally:
        if before is None:
            del os.environ["SCUMBLE_HOME"]
        else:
            os.environ["SCUMBLE_HOME"] = before


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("home"), "--executor", "brush:Brush") as running:
        yield running


@pytest.fixture
def own_server(tmp_path):
    """For tests that end it."""
    with serving(tmp_path, "--executor", "brush:Brush") as running:
        yield running


def worker_of(client):
    return psutil.Process(json.loads(client.run_job(job()).provenance)["pid"])


class TestAJob:
    def test_comes_back_bit_for_bit(self, server):
        with server.connect() as client:
            result = client.run_job(job("waves", seed=11))
        np.testing.assert_array_equal(result.tensors["image/0"], paint(job("waves", seed=11)))

    def test_is_told_by_progress_and_previews(self, server):
        heard = []
        with server.connect() as client:
            client.run_job(job("slow", num_inference_steps=20), on_event=heard.append, previews=True)
        steps = [arrived.message.step for arrived in heard if isinstance(arrived.message, Progress)]
        assert steps == sorted(steps)
        preview = next(arrived for arrived in heard if isinstance(arrived.message, Preview))
        assert preview.tensors["preview"].shape == (6, 8, 3)

    def test_sends_a_tensor_once_and_refers_to_it_after(self, server):
        image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        address = digest_of(image)
        with server.connect() as client:
            client.run_job(job(init_image=address), {address: image})
        with server.connect() as client:  # another connection: the store is the server's
            heard = []
            result = client.run_job(job(init_image=address), {address: image}, heard.append)
        np.testing.assert_array_equal(result.tensors["image/0"], 255 - image)
        assert not any(isinstance(arrived.message, NeedTensors) for arrived in heard)

    def test_may_start_from_the_result_of_another_without_an_upload(self, server):
        with server.connect() as client:
            first = client.run_job(job(seed=21))
            second = client.run_job(job(init_image=first.digests["image/0"]))
        np.testing.assert_array_equal(second.tensors["image/0"], 255 - first.tensors["image/0"])

    def test_as_large_as_a_picture_gets(self, server):
        with server.connect() as client:
            large = job(width=2048, height=2048, num_inference_steps=1)
            np.testing.assert_array_equal(client.run_job(large).tensors["image/0"], paint(large))


class TestCancel:
    def test_takes_effect_within_a_step(self, server):
        class Enough(Exception):
            pass

        def stop_at_third(arrived):
            if isinstance(arrived.message, Progress) and arrived.message.step >= 3:
                raise Enough

        with server.connect() as client:
            with pytest.raises(Enough):
                client.run_job(job("slow", num_inference_steps=500), on_event=stop_at_third)
            assert client.run_job(job()).tensors  # the 490 steps left would take ten seconds

    def test_from_another_job_of_the_same_client_ends_only_that(self, server):
        job_id = str(uuid.uuid4())
        with server.connect() as client:

            def cancel(arrived):
                if isinstance(arrived.message, Progress):
                    client.session.cancel(job_id)

            with pytest.raises(JobCancelled):
                client.run_job(job("slow", num_inference_steps=500), on_event=cancel, job_id=job_id)
            assert client.run_job(job()).tensors


class TestAccidents:
    @posix
    def test_kill_mid_step_costs_one_job_and_no_connection(self, server):
        with server.connect() as client:
            worker = worker_of(client)

            def kill(arrived):
                if isinstance(arrived.message, Progress) and arrived.message.step == 2 and worker.is_running():
                    worker.kill()

            with pytest.raises(ScumbleError) as lost:
                client.run_job(job("hang"), on_event=kill)
            assert lost.value.code is ErrorCode.WORKER_LOST
            assert lost.value.info.remedy.action is RemedyAction.RETRY
            np.testing.assert_array_equal(client.run_job(job(seed=8)).tensors["image/0"], paint(job(seed=8)))
            assert worker_of(client).pid != worker.pid

    @pytest.mark.parametrize(
        ("prompt", "code"),
        [
            ("oom", ErrorCode.OUT_OF_MEMORY),
            ("broken", ErrorCode.INTERNAL),
            ("lost-device", ErrorCode.WORKER_LOST),
            ("no-model", ErrorCode.MODEL_MISSING),
        ],
    )
    def test_what_goes_wrong_in_a_job_is_told_by_code_and_the_next_is_well(self, server, prompt, code):
        with server.connect() as client:
            with pytest.raises(ScumbleError) as told:
                client.run_job(job(prompt))
            assert told.value.code is code
            assert client.run_job(job()).tensors

    def test_two_clients_at_once_get_their_own(self, server):
        results = {}

        def work(seed):
            with server.connect() as client:
                results[seed] = [client.run_job(job("slow", seed=seed)).tensors["image/0"] for _ in range(3)]

        threads = [threading.Thread(target=work, args=(seed,)) for seed in (31, 32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for seed, images in results.items():
            for image in images:
                np.testing.assert_array_equal(image, paint(job("slow", seed=seed)))
        assert set(results) == {31, 32}

    def test_health_and_metrics_say_how_it_goes(self, server):
        with server.connect() as client:
            client.run_job(job())
            assert json.loads(server.get("/healthz"))["worker"] == "ready"
        assert "scumble_succeeded_total" in server.get("/metrics")


class TestGenerateCommand:
    def command(self, server, tmp_path, *words, home=None):
        return subprocess.run(
            [
                *(sys.executable, "-m", "scumble_server.cli", "generate", "--server", server.record.url),
                *("--model", "brush", "--prompt", "waves", "--seed", "9", "--output", str(tmp_path), *words),
            ],
            env={**os.environ, "SCUMBLE_HOME": str(home or server.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_has_its_work_done_by_a_server(self, server, tmp_path):
        depth = tmp_path / "depth.npy"
        np.save(depth, np.full((32, 40), 2.0, np.float32))
        done = self.command(server, tmp_path, "--depth", str(depth), "--count", "1")
        assert done.returncode == 0, done.stderr
        path = Path(done.stdout.strip())
        settings = read_settings(path)
        assert settings.job.seed == 9
        np.testing.assert_array_equal(np.asarray(Image.open(path)), paint(settings.job))

    def test_needs_the_token_of_a_server_that_is_not_its_own(self, server, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        refused = self.command(server, tmp_path, home=elsewhere)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        (tmp_path / "token").write_text(server.record.token)
        done = self.command(server, tmp_path, "--token-file", str(tmp_path / "token"), home=elsewhere)
        assert done.returncode == 0, done.stderr

    def test_tells_what_the_server_lacks_with_the_remedy(self, server, tmp_path):
        done = self.command(server, tmp_path, "--model", "other")
        assert done.returncode == 1
        assert "known are brush" in done.stderr
        assert "remedy:" in done.stderr
        assert "Traceback" not in done.stderr


class TestStartAndEnd:
    def test_the_handshake_waits_for_no_engine(self, tmp_path):
        with serving(tmp_path, "--executor", "brush:NeverReady") as server, server.connect() as client:
            assert client.capabilities.models == ()

    def test_what_it_can_do_is_known_when_the_first_job_is_done(self, own_server):
        with own_server.connect() as client:
            client.run_job(job())
            assert client.capabilities.device == "test"
            assert [model.id for model in client.capabilities.models] == ["brush"]

    def test_ends_with_whoever_started_it_and_takes_all_with_it(self, own_server, tmp_path):
        with own_server.connect() as client:
            client.run_job(job())
        children = own_server.children()
        own_server.process.stdin.close()
        assert own_server.process.wait(15) == 0
        assert psutil.wait_procs(children, timeout=10)[1] == []
        assert records_in(tmp_path) == []

    @posix
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_when_told_to_in_the_midst_of_work(self, own_server, number):
        with own_server.connect() as client:

            def tell(arrived):
                if isinstance(arrived.message, Progress) and arrived.message.step == 2:
                    own_server.process.send_signal(number)

            with pytest.raises(ScumbleError) as told:
                client.run_job(job("hang"), on_event=tell)
            assert told.value.code in (ErrorCode.WORKER_LOST, ErrorCode.CONNECTION_LOST)
        assert own_server.process.wait(15) == 0

    @posix
    @pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
    def test_ctrl_c_in_a_terminal_ends_it_without_a_traceback(self, tmp_path, delay):
        """A terminal interrupts the whole group, a worker that is just being started included."""
        command = [sys.executable, "-m", "scumble_server.cli", "serve", "--executor", "brush:Brush"]
        environment = {**os.environ, "SCUMBLE_HOME": str(tmp_path), "PYTHONPATH": str(WORKERS)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
            process.stdout.readline()
            threading.Event().wait(delay)  # any moment of the worker's start will do
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=15)
        assert process.returncode == 0
        assert "Traceback" not in errors

    @posix
    def test_killed_outright_it_leaves_no_process_behind(self, own_server):
        with own_server.connect() as client:
            worker_of(client)
        children = own_server.children()
        assert children
        own_server.process.kill()
        own_server.process.wait(15)
        assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.slow
def test_the_engine_gives_the_same_pixels_through_the_server_as_by_itself(tmp_path):
    """Same job, same version, same device: the process border and the wire change nothing."""
    import torch
    from scumble_server.engine.executor import EngineExecutor

    torch.set_num_threads(1)  # as the server's worker: on a CPU the number of threads decides the last digits

    class Quiet:
        def progress(self, *_args, **_named): ...
        def wants_preview(self):
            return False

        def preview(self, *_args): ...
        def check_cancelled(self): ...

    wanted = GenerateJob("a red cube", width=64, height=64, num_inference_steps=2, seed=5)
    by_itself = EngineExecutor((), "cpu").run(wanted, {}, Quiet()).tensors["image/0"]
    with serving(tmp_path, "--device", "cpu") as server, server.connect() as client:
        result = client.run_job(wanted)
    np.testing.assert_array_equal(result.tensors["image/0"], by_itself)
    assert json.loads(result.provenance)["versions"]["scumble"]
