"""Connections that break, stall or compete: nothing is lost, and nobody waits for another."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from desk import paint
from running import TOKEN
from scumble_server.net.blocking_client import connect
from scumble_shared.client import ClientSession, ClientState
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import (
    Accepted,
    Preview,
    Result,
    ResumePoint,
    Started,
    Submit,
)
from scumble_shared.tensor import digest_of
from wire import DIGEST, IMAGE, Wire, job


class TestBrokenConnections:
    def test_a_job_goes_on_and_its_result_is_fetched_later(self, run_server):
        with run_server(working=False) as server:
            with server.open() as websocket:
                wire = Wire(websocket)
                wire.identify()
                wire.send(Submit("j", job(seed=9)))
                assert wire.receive() == Accepted("j", 1)
                websocket.socket.shutdown(socket.SHUT_RDWR)
            while server.on_loop(server.desk.step):
                pass
            with server.open() as websocket:
                wire = Wire(websocket)
                _, ready = wire.identify(resume=(ResumePoint("j", 1), ResumePoint("other", 3)))
                assert ready.resumed == ("j",)
                assert wire.receive() == Started("j", 2)
                result = wire.receive()
                assert (result.seq, result.tensors[0].digest) == (3, digest_of(paint(job(seed=9))))

    def test_the_client_session_loses_nothing_over_many_disconnections(self, server):
        session = ClientSession("stubborn")
        jobs = {f"job-{seed}": job(seed=seed, init_image=DIGEST if seed % 2 else None) for seed in range(12)}
        for job_id, one in jobs.items():
            session.submit(job_id, one, {DIGEST: IMAGE})
        results = {}
        frames_to_hear = 1
        while session.pending:
            with server.open() as websocket:
                session.connected()
                for _ in range(frames_to_hear):
                    while (frame := session.next_frame()) is not None:
                        websocket.send(frame)
                    for arrived in session.receive(websocket.recv(10)):
                        if isinstance(arrived.message, Result):
                            results[arrived.message.job_id] = arrived.tensors["image/0"]
                    if not session.pending:
                        break
                websocket.socket.shutdown(socket.SHUT_RDWR)
            session.disconnected()
            assert session.state is ClientState.DISCONNECTED
            frames_to_hear += 1
        for job_id, one in jobs.items():
            np.testing.assert_array_equal(results[job_id], 255 - IMAGE if one.init_image else paint(one))

    def test_a_client_that_does_not_read_holds_up_nobody_and_gets_its_result_in_the_end(self, server):
        size = {"width": 1024, "height": 1024, "num_inference_steps": 60}
        with server.open(max_queue=1) as websocket:
            slow = Wire(websocket)
            slow.identify()
            slow.send(*(Submit(f"slow-{number}", job(seed=number, **size)) for number in range(4)))
            with connect(server.url, TOKEN) as client:
                client.run_job(job())
            previews = 0
            results = []
            while len(results) < 4:
                message = slow.receive()
                previews += isinstance(message, Preview)
                if isinstance(message, Result):
                    results.append(message.job_id)
            assert results == [f"slow-{number}" for number in range(4)]
            assert previews < 4 * 60, "previews nobody reads are dropped"

    def test_two_clients_get_each_their_own(self, server):
        pictures = {}

        def work(seed):
            with connect(server.url, TOKEN) as client:
                pictures[seed] = [client.run_job(job(seed=seed + n)).tensors["image/0"] for n in range(5)]

        threads = [threading.Thread(target=work, args=(seed,)) for seed in (100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for seed in (100, 200):
            for n in range(5):
                np.testing.assert_array_equal(pictures[seed][n], paint(job(seed=seed + n)))

    def test_a_server_that_is_not_there(self):
        with pytest.raises(ScumbleError) as caught, connect("ws://127.0.0.1:1", TOKEN, timeout=2):
            pass
        assert caught.value.code is ErrorCode.SERVER_UNREACHABLE
        assert caught.value.info.remedy.action == "start_server"

    def test_a_wrong_token_is_told_as_such(self, server):
        with pytest.raises(ScumbleError) as caught, connect(server.url, "wrong"):
            pass
        assert caught.value.code is ErrorCode.UNAUTHORIZED

    def test_a_server_that_ends_while_a_job_runs(self, run_server):
        with run_server(working=False) as server, connect(server.url, TOKEN) as client:

            def end(event):
                if isinstance(event.message, Accepted):
                    for connection in list(server.edge._connections):
                        server.on_loop(connection._websocket.transport.abort)

            with pytest.raises(ScumbleError) as caught:
                client.run_job(job(), on_event=end)
            assert caught.value.code is ErrorCode.CONNECTION_LOST
