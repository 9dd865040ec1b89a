"""Jobs over a real socket."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from desk import BRUSH, CAPABILITIES, Desk, paint
from running import TOKEN
from scumble_server.net.blocking_client import connect
from scumble_server.net.codecs import EDGE_CODECS
from scumble_server.service import JobCancelled
from scumble_shared.codec import RAW, describe, encode_binary
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import (
    Accepted,
    Cancel,
    Cancelled,
    ListModels,
    ModelsChanged,
    NeedTensors,
    Preview,
    Problem,
    Progress,
    Result,
    Started,
    Submit,
    Upload,
)
from scumble_shared.tensor import digest_of
from wire import DIGEST, IMAGE, Wire, job


class TestJobs:
    def test_events_come_in_order_and_the_picture_with_the_result(self, server):
        events = []
        with connect(server.url, TOKEN) as client:
            result = client.run_job(job(seed=5), on_event=events.append, previews=True)
        np.testing.assert_array_equal(result.tensors["image/0"], paint(job(seed=5)))
        assert result.digests == {"image/0": digest_of(paint(job(seed=5)))}
        messages = [event.message for event in events]
        reliable = [message for message in messages if isinstance(message, Accepted | Started | Result)]
        assert [(type(message), message.seq) for message in reliable] == [(Accepted, 1), (Started, 2), (Result, 3)]
        assert any(isinstance(message, Progress) for message in messages)
        assert any(isinstance(message, Preview) for message in messages)

    def test_a_result_may_be_used_by_the_next_job_without_sending_it(self, server):
        with connect(server.url, TOKEN) as client:
            first = client.run_job(job(seed=5))
            second = client.run_job(job(init_image=first.digests["image/0"]))
        np.testing.assert_array_equal(second.tensors["image/0"], 255 - first.tensors["image/0"])

    def test_tensors_may_have_names_for_once(self, server):
        once = f"once:{'0' * 32}:1"
        with connect(server.url, TOKEN) as client:
            result = client.run_job(job(init_image=once), {once: IMAGE})
        np.testing.assert_array_equal(result.tensors["image/0"], 255 - IMAGE)

    def test_failures_are_typed(self, server):
        with connect(server.url, TOKEN) as client:
            with pytest.raises(ScumbleError) as caught:
                client.run_job(job("fail"))
            assert caught.value.code is ErrorCode.OUT_OF_MEMORY
            client.run_job(job())

    def test_missing_tensors_are_asked_for(self, wire):
        wire.send(Submit("j", job(init_image=DIGEST)))
        assert wire.receive() == NeedTensors("j", (DIGEST,))
        wire.upload()
        wire.send(Submit("j", job(init_image=DIGEST)))
        assert wire.receive() == Accepted("j", 1)

    def test_submitting_twice_changes_nothing(self, wire):
        wire.send(Submit("j", job()))
        wire.until(Result)
        wire.send(Submit("j", job()))
        again = [wire.receive() for _ in range(3)]
        assert [type(message) for message in again] == [Accepted, Started, Result]

    def test_an_id_of_another_job_is_a_conflict(self, wire):
        wire.send(Submit("j", job()))
        wire.until(Result)
        wire.send(Submit("j", job(seed=1)))
        problem = wire.receive()
        assert (problem.job_id, problem.error.code) == ("j", ErrorCode.CONFLICT)

    def test_more_than_the_queue_holds(self, run_server):
        with run_server(Desk(queue_limit=1), working=False) as server, server.open() as websocket:
            wire = Wire(websocket)
            wire.identify()
            wire.send(Submit("a", job()), Submit("b", job()))
            assert wire.receive() == Accepted("a", 1)
            problem = wire.receive()
            assert (problem.job_id, problem.error.code) == ("b", ErrorCode.BUSY)

    def test_interrupting_the_script_cancels_its_job(self, server):
        class Enough(Exception):
            pass

        def interrupt(event):
            if isinstance(event.message, Started):
                raise Enough

        with connect(server.url, TOKEN) as client:
            with pytest.raises(Enough):
                client.run_job(job("for ever"), on_event=interrupt, job_id="long")
            client.run_job(job())
        assert server.on_loop(lambda: server.desk.queue) == []

    def test_a_cancelled_job_says_so(self, server):
        with connect(server.url, TOKEN) as client:

            def cancel(event):
                if isinstance(event.message, Started):
                    client.session.cancel("long")

            with pytest.raises(JobCancelled):
                client.run_job(job("for ever"), on_event=cancel, job_id="long")

    def test_new_models_are_told(self, server):
        with connect(server.url, TOKEN) as client:
            server.on_loop(lambda: server.desk.say(replace(CAPABILITIES, device="changed")))
            events = []
            client.run_job(job(), on_event=events.append)
            assert any(isinstance(event.message, ModelsChanged) for event in events)
            assert client.capabilities.device == "changed"


class TestModelsThatCome:
    LATE = replace(BRUSH, id="late", name="Late")

    @pytest.fixture
    def wire(self, server):
        """Identified, the look that this brings with it done."""
        with server.open() as websocket:
            wire = Wire(websocket)
            wire.identify()
            wire.send(ListModels())
            wire.until(ModelsChanged)
            yield wire

    def test_are_found_when_a_client_asks(self, server, wire):
        server.on_loop(lambda: setattr(server.desk, "arriving", (self.LATE,)))
        wire.send(ListModels())
        assert self.LATE in wire.until(ModelsChanged).capabilities.models

    def test_are_found_when_a_client_comes(self, server, wire):
        server.on_loop(lambda: setattr(server.desk, "arriving", (self.LATE,)))
        with connect(server.url, TOKEN):
            assert self.LATE in wire.until(ModelsChanged).capabilities.models

    def test_are_found_when_a_job_names_them(self, server, wire):
        server.on_loop(lambda: setattr(server.desk, "arriving", (self.LATE,)))
        wire.send(Submit("first", job(model="late")))
        assert self.LATE in wire.until(ModelsChanged).capabilities.models
        assert wire.until((Result, Problem)).type == "result"

    def test_that_do_not_come_are_refused_and_known_ones_need_no_look(self, server, wire):
        looks = server.on_loop(lambda: server.desk.looks)
        wire.still_works()
        assert server.on_loop(lambda: server.desk.looks) == looks
        wire.send(Submit("never", job(model="never")))
        problem = wire.until(Problem)
        assert (problem.job_id, problem.error.code) == ("never", "model_missing")
        assert server.on_loop(lambda: server.desk.looks) == looks + 1

    def test_are_not_looked_for_by_strangers(self, server):
        with server.open() as websocket:
            wire = Wire(websocket)
            wire.receive()
            wire.send(ListModels())
            assert wire.until(Problem).error.code == "invalid_message"
        assert server.on_loop(lambda: server.desk.looks) == 0


class TestLargeThings:
    def test_travel_in_pieces_both_ways(self, server):
        image = np.random.default_rng(0).integers(0, 256, (1500, 1400, 3), dtype=np.uint8)
        with connect(server.url, TOKEN) as client:
            result = client.run_job(job(init_image=digest_of(image)), {digest_of(image): image})
        np.testing.assert_array_equal(result.tensors["image/0"], 255 - image)

    def test_a_cancel_overtakes_what_is_still_being_received(self, run_server):
        """The upload is never finished, and the cancel of the job before it works all the same."""
        with run_server(working=False) as server, server.open() as websocket:
            wire = Wire(websocket)
            wire.identify()
            wire.send(Submit("j", job()))
            wire.until(Accepted)
            wire.send(b"SCMP\x01\x00\x00\x00" + (10**6).to_bytes(8, "little") + bytes(500_000))
            wire.send(Cancel("j"))
            wire.send('{"type": "cancel", "job_id": "nobody"}')
            wire.until(Problem)
            server.on_loop(server.desk.step)
            assert wire.until(Cancelled) == Cancelled("j", 2)

    def test_a_job_waits_for_all_that_was_sent_before_it_and_a_bad_upload_spoils_no_other(self, wire):
        """Each is large enough to be checked beside the others."""
        views = [np.full((400, 400, 3), number, np.uint8) for number in range(6)]
        for number, view in enumerate(views):
            wire.upload(view, digest="0" * 64 if number == 2 else None)
        wire.send(*(Submit(f"job-{number}", job(init_image=digest_of(view), width=400, height=400))
                    for number, view in enumerate(views)))  # fmt: skip
        told = [wire.receive()]
        while told[-1].type != "need_tensors":
            told.append(wire.receive())
        assert (told[0].type, told[0].error.field) == ("problem", "tensors[0].digest")
        assert [message.job_id for message in told if isinstance(message, Accepted)] == ["job-0", "job-1"]
        assert (told[-1].job_id, told[-1].digests) == ("job-2", (digest_of(views[2]),))


class TestCodecNegotiation:
    """On this machine tensors always travel raw; a session for another machine is in test_session.py."""

    def test_raw_whatever_the_client_could(self, run_server):
        with run_server(codecs=EDGE_CODECS) as server, server.open() as websocket:
            wire = Wire(websocket)
            _, ready = wire.identify(codecs=("webp", "zstd", "raw"))
            assert ready.codec == "raw"
            wire.send(Submit("j", job()))
            assert wire.until(Result).tensors[0].codec == "raw"

    def test_compressed_uploads_are_understood_all_the_same(self, run_server):
        with run_server(codecs=EDGE_CODECS) as server, server.open() as websocket:
            wire = Wire(websocket)
            wire.identify()
            for codec in ("zstd", "webp"):
                message = Upload((describe("", IMAGE, DIGEST, codec),))
                wire.send(encode_binary(message, [IMAGE], EDGE_CODECS))
            wire.send(Submit("j", job(init_image=DIGEST)))
            assert wire.until((Result, Problem)).tensors[0].codec == "raw"

    def test_a_client_without_compression_is_served_too(self, server):
        with connect(server.url, TOKEN, codecs=RAW) as client:
            client.run_job(job())
