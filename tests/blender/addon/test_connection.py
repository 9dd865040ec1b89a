"""Between the network thread and the main thread, and what is refused before anything is sent."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.errors import ScumbleError
from scumble_shared.job import GenerateJob, View
from scumble_shared.tensor import digest_of, is_one_off

MODULE = "bl_ext.user_default.scumble"


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


# --- outbox -----------------------------------------------------------------------------------------


def drained(outbox):
    return list(iter(outbox.take, None))


def test_everything_arrives_in_order(part):
    outbox = part("connection.outbox").Outbox()
    for number in range(5):
        outbox.put(number)
    assert drained(outbox) == [0, 1, 2, 3, 4]


def test_newer_progress_takes_the_place_of_older(part):
    outbox = part("connection.outbox").Outbox()
    for entry, latest in [("a", "p"), ("started", None), ("b", "p"), ("result", None)]:
        outbox.put(entry, latest)
    assert drained(outbox) == ["b", "started", "result"]


def test_a_full_outbox_makes_the_network_wait_and_loses_nothing(part):
    outbox = part("connection.outbox").Outbox(capacity=2)
    writer = threading.Thread(target=lambda: [outbox.put(number) for number in range(50)])
    writer.start()
    taken = []
    while len(taken) < 50:
        assert len(outbox) <= 2
        if (entry := outbox.take()) is not None:
            taken.append(entry)
    writer.join(5.0)
    assert taken == list(range(50))


def test_closing_frees_a_waiting_writer(part):
    outbox = part("connection.outbox").Outbox(capacity=1)
    outbox.put(1)
    writer = threading.Thread(target=outbox.put, args=(2,))
    writer.start()
    outbox.close()
    writer.join(5.0)
    assert not writer.is_alive()
    assert outbox.take() is None


# --- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ws://localhost:1", "ws://[::1]:1", "ws://127.9.9.9:1"])
def test_this_machine_is_always_allowed(part, url):
    address = part("connection.address")
    address.check_allowed(address.Address(url, "t"), online_access=False)


@pytest.mark.parametrize(
    ("url", "online", "code"),
    [
        ("wss://box:7860", False, "offline"),
        ("ws://box:7860", True, "unsupported"),
        ("ws://127.0.0.1.evil.com:1", False, "offline"),
        ("ws://localhost.evil.com:1", True, "unsupported"),
        ("https://box", True, "invalid_field"),
        ("", True, "invalid_field"),
        ("ws://127.0.0.1:99999999", True, "invalid_field"),
    ],
)
def test_other_addresses_need_permission_and_encryption(part, url, online, code):
    address = part("connection.address")
    with pytest.raises(ScumbleError) as caught:
        address.check_allowed(address.Address(url, "t"), online)
    assert caught.value.code == code
    assert caught.value.info.remedy.action == "open_preferences"


def test_a_remote_address_is_fine_online_and_encrypted(part):
    address = part("connection.address")
    address.check_allowed(address.Address("wss://box:7860", "t"), online_access=True)


def test_a_token_is_never_printed(part):
    assert "secret" not in repr(part("connection.address").Address("ws://127.0.0.1:1", "secret"))


# --- what goes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 3, 4, 65535, 65536, 65537, 300_002])
def test_frames_are_masked_as_websockets_would(part, monkeypatch, size):
    """Down to the byte, of a frame of any size, whatever kind of buffer it is in."""
    from websockets.frames import Frame, Opcode
    from websockets.protocol import CLIENT, Protocol, State

    masking = part("connection.masking")
    monkeypatch.setattr("secrets.token_bytes", lambda count: bytes(range(201, 201 + count)))
    content = np.random.default_rng(size).bytes(size)
    plain, quick = Protocol(CLIENT, state=State.OPEN), Protocol(CLIENT, state=State.OPEN)
    masking.mask_with_numpy(quick)
    for data in (content, bytearray(content), memoryview(content)):
        plain.send_frame(Frame(Opcode.BINARY, data))
        quick.send_frame(Frame(Opcode.BINARY, data))
    assert b"".join(quick.data_to_send()) == b"".join(plain.data_to_send())


# --- the server's process ---------------------------------------------------------------------------


def test_the_server_gets_neither_blenders_python_nor_outlives_its_pipe(part, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/blender/only")
    code = "import os,sys; print(os.environ.get('PYTHONPATH'), flush=True); sys.stdin.read(); print('ended')"
    log = tmp_path / "log" / "server.log"
    server = part("connection.server_process").LocalServer((sys.executable, "-c", code), log)
    server.stop(timeout=20.0)
    assert log.read_text().split() == ["None", "ended"]


def test_a_server_that_does_not_listen_is_killed(part, tmp_path):
    code = "import time; time.sleep(600)"
    server = part("connection.server_process").LocalServer((sys.executable, "-c", code), tmp_path / "server.log")
    begin = time.monotonic()
    server.stop(timeout=0.2)
    assert time.monotonic() - begin < 10.0
    with pytest.raises(ScumbleError):
        server.check_alive()


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_the_program_is_found_by_preference_then_record_then_path(part, tmp_path, monkeypatch):
    from scumble_shared.runtime import InstallRecord, write_install_record

    find = part("connection.server_process").find_command
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path / "home"))
    program = tmp_path / "bin" / "scumble"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ScumbleError) as caught:
        find()
    assert caught.value.info.remedy.action == "open_preferences"
    monkeypatch.setenv("PATH", str(program.parent))
    assert find() == (str(program), "serve")
    write_install_record(InstallRecord((sys.executable, "-m", "x", "serve"), "1"))
    assert find() == (sys.executable, "-m", "x", "serve")
    assert find(str(program)) == (str(program), "serve")
    assert find(sys.executable) == (sys.executable, "-m", "scumble_server.cli", "serve")


# --- the session without a server -------------------------------------------------------------------


@pytest.fixture
def session(part):
    jobs = part("jobs")
    made = part("session").Session("test", lambda arrived, record: None, lambda record: None, lambda record, p: None)
    yield made, jobs
    made.disconnect(wait=True)


def test_a_job_that_never_left_is_cancelled_at_once(session):
    current, jobs = session
    record = current.submit(GenerateJob("x"), {}, jobs.Target(0))
    current.cancel(record.id)
    assert current.jobs.get(record.id).state == "cancelled"
    assert current.jobs.live() == ()


def test_waiting_jobs_fail_with_the_reason_there_is_no_server(session, part):
    current, jobs = session
    record = current.submit(GenerateJob("x"), {}, jobs.Target(0))
    try:
        part("connection.server_process").find_command("/nowhere")
    except ScumbleError as error:
        current.fail(error.info)
    assert current.jobs.get(record.id).error == current.problem
    assert current.state == "failed"


def test_an_address_nobody_answers_at_is_tried_again_and_jobs_wait(session, part):
    current, jobs = session
    record = current.submit(GenerateJob("x"), {}, jobs.Target(0))
    current.connect(part("connection.address").Address("ws://127.0.0.1:9", "t"))
    deadline = time.monotonic() + 20.0
    while current.state != "lost" and time.monotonic() < deadline:
        current.step(time.perf_counter() + 0.01)
    assert current.state == "lost"
    assert current.error.code == "server_unreachable"
    assert current.jobs.get(record.id).state == "waiting"
    current.disconnect()
    assert current.jobs.get(record.id).error.code == "connection_lost"


def test_a_server_that_was_started_anew_is_looked_for(session, part):
    """It has another port and another token; the first attempt is at the address that was given."""
    current, _ = session
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(20.0)
        address = part("connection.address").Address

        def find():
            asked.set()
            return address(f"ws://127.0.0.1:{elsewhere.getsockname()[1]}", "new")

        current.connect(address("ws://127.0.0.1:9", "t"), find)
        with elsewhere.accept()[0] as visitor:
            visitor.settimeout(20.0)
            assert b"Bearer new" in visitor.recv(4096)
    assert asked.is_set()
    current.disconnect()


def test_tensors_get_their_addresses_on_the_network_thread(session, part):
    """Hashing a view's buffers takes Blender's main thread longer than a frame at larger sizes."""
    current, jobs = session
    addressing = part("connection.addressing")
    depth = np.linspace(1.0, 2.0, 64 * 64, dtype=np.float32).reshape(64, 64)
    name, kept = addressing.stand_in(depth), "a" * 64
    view = View(Camera(pack_matrix(np.eye(4)), pack_matrix(np.eye(4)), 64, 64, 0.1, 10.0), depth=name, normal=kept)
    made = current.submit(GenerateJob("x", view=view), {name: depth}, jobs.Target(0))
    current.connect(part("connection.address").Address("ws://127.0.0.1:9", "t"))
    deadline = time.monotonic() + 20.0
    while current.jobs.get(made.id).job == made.job and time.monotonic() < deadline:
        current.step(time.perf_counter() + 0.01)
    record = current.jobs.get(made.id)
    assert record.job == replace(made.job, view=replace(view, depth=digest_of(depth)))
    assert list(record.tensors) == [digest_of(depth)]
    assert record.tensors[digest_of(depth)] is depth


def test_large_tensors_get_the_same_addresses_as_small_ones(part):
    """Several threads hash them."""
    addressing = part("connection.addressing")
    arrays = [np.random.default_rng(size).random((size, 512), np.float32) for size in (1, 300, 1024, 512)]
    names = [addressing.stand_in(array) for array in arrays]
    view = View(Camera(pack_matrix(np.eye(4)), pack_matrix(np.eye(4)), 64, 64, 0.1, 10.0), names[0], names[1], names[2])
    job, tensors = addressing.addressed(
        GenerateJob("x", view=view, init_image=names[3]), dict(zip(names, arrays, strict=True))
    )
    assert (job.view.depth, job.view.normal, job.view.object_id, job.init_image) == tuple(map(digest_of, arrays))
    assert all(tensors[digest_of(array)] is array for array in arrays)


def test_what_is_needed_once_keeps_its_stand_in_which_is_a_name_by_itself(part):
    addressing = part("connection.addressing")
    depth, image = np.ones((64, 64), np.float32), np.zeros((64, 64, 3), np.uint8)
    names = addressing.stand_in(depth), addressing.stand_in(image)
    view = View(Camera(pack_matrix(np.eye(4)), pack_matrix(np.eye(4)), 64, 64, 0.1, 10.0), names[0])
    made = GenerateJob("x", view=view, init_image=names[1])
    job, tensors = addressing.addressed(made, {names[0]: depth, names[1]: image}, once={names[0]})
    assert job == replace(made, init_image=digest_of(image))
    assert is_one_off(job.view.depth)
    assert tensors[job.view.depth] is depth
    assert tensors[job.init_image] is image


def test_what_cannot_travel_is_refused_where_it_is_made(part):
    with pytest.raises(ValueError, match="float64"):
        part("connection.addressing").stand_in(np.zeros(3))


def test_old_jobs_are_forgotten_but_never_live_ones(session):
    current, jobs = session
    first = current.submit(GenerateJob("0"), {}, jobs.Target(0))
    for number in range(3 * jobs.REMEMBERED):
        record = current.submit(GenerateJob(str(number)), {}, jobs.Target(0))
        current.cancel(record.id)
    assert current.jobs.get(first.id) is not None
    assert len(current.jobs.all()) <= jobs.REMEMBERED + 2


def test_an_ended_job_never_changes_again(session):
    current, jobs = session
    record = current.submit(GenerateJob("x"), {}, jobs.Target(0))
    current.cancel(record.id)
    assert current.jobs.update(record.id, state=jobs.JobState.RUNNING) is None
    assert current.jobs.get(record.id).state == "cancelled"


def test_disconnected_blender_has_no_thread_of_ours(session, part):
    current, _ = session
    current.connect(part("connection.address").Address("ws://127.0.0.1:9", "t"))
    current.disconnect(wait=True)
    assert [thread.name for thread in threading.enumerate() if "scumble" in thread.name] == []


def test_a_turn_of_the_main_thread_ends_with_its_budget_and_never_starves(session, part):
    """The rest is there for the next turn."""
    from scumble_shared.client import Arrived
    from scumble_shared.messages import Capabilities, ModelsChanged

    current, _ = session
    link = part("connection.link")
    current.connect(part("connection.address").Address("ws://127.0.0.1:9", "t"))
    for _ in range(100):
        current._link.events.put(link.Arrival(Arrived(ModelsChanged(Capabilities())), None))
    assert current.step(time.perf_counter()) == 1
    assert current.step(time.perf_counter() + 5.0) >= 99
