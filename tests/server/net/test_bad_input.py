"""Bad input over a real socket: a typed error, nothing more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from desk import Desk
from running import TOKEN
from scumble_server.net.blocking_client import connect
from scumble_server.net.codecs import EDGE_CODECS
from scumble_shared.codec import describe, encode_binary, encode_text
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control
from scumble_shared.limits import Limits
from scumble_shared.messages import (
    Submit,
    Upload,
)
from scumble_shared.tensor import digest_of
from websockets.exceptions import ConnectionClosed
from wire import DIGEST, IMAGE, Wire, job


class TestBadInput:
    """Each gives a typed error; the connection and the server live on."""

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            ("", "invalid_message"),
            ("{", "invalid_message"),
            ("[1]", "invalid_message"),
            ('{"type": 3}', "invalid_message"),
            ('{"type": "telepathy"}', "unsupported"),
            ('{"type": "hello", "server": "", "instance_id": ""}', "unsupported"),
            ('{"type": "upload", "tensors": []}', "invalid_message"),
            ('{"type": "cancel"}', "invalid_field"),
            ('{"type": "cancel", "job_id": "../x"}', "invalid_field"),
            ('{"type": "cancel", "job_id": "nobody"}', "unknown_job"),
            ('{"type": "identify", "client": "twice"}', "invalid_message"),
            ("[" * 100_000, "invalid_message"),
            (" " * (1024 * 1024 + 1), "too_large"),
            (b"", "invalid_message"),
            (b"garbage", "invalid_message"),
            (b"SCMB\x02\x00\x00\x00\x00\x00\x00\x00", "invalid_message"),
            (b"SCMB\x01\x00\xff\xff\xff\xff\xff\xff" + bytes(100), "too_large"),
            (b"SCMP\x01\x00\x00\x00" + b"\xff" * 8 + b"x", "too_large"),
            (encode_binary(Upload((describe("", IMAGE, DIGEST),)), [IMAGE])[:-1], "invalid_message"),
            (encode_binary(Upload((describe("", IMAGE, "0" * 64),)), [IMAGE]), "invalid_field"),
            (encode_binary(Upload((describe("", IMAGE, DIGEST, "zstd"),)), [IMAGE], EDGE_CODECS), "unsupported"),
        ],
    )
    def test_frames(self, wire, frame, code):
        wire.send(frame)
        assert wire.receive().error.code == code
        wire.still_works()

    @pytest.mark.parametrize(
        ("changes", "code", "field"),
        [
            ({"width": 0}, "invalid_field", "job.width"),
            ({"width": 100_000}, "too_large", "job.width"),
            ({"prompt": "x" * 100_000}, "too_large", "job.prompt"),
            ({"sampler": "magic"}, "invalid_field", "job.sampler"),
            ({"model": "none"}, "model_missing", "job.model"),
            ({"model": "../../etc/passwd"}, "invalid_field", "job.model"),
            ({"init_image": "short"}, "invalid_field", "job.init_image"),
            (
                {"controls": (Control("depth", "depth-sdxl", image=DIGEST),)},
                "model_mismatch",
                "job.controls[0].model",
            ),
        ],
    )
    def test_jobs_that_make_no_sense(self, wire, changes, code, field):
        wire.send(Submit("bad", replace(job(), **changes)))
        problem = wire.receive()
        assert (problem.job_id, problem.error.code, problem.error.field) == ("bad", code, field)
        wire.still_works()

    def test_a_job_of_wrong_types_is_refused_by_its_id(self, wire):
        text = encode_text(Submit("bad", job())).replace('"seed":0', '"seed":"0"')
        wire.send(text)
        problem = wire.receive()
        assert (problem.job_id, problem.error.field) == ("bad", "job.seed")

    def test_buffers_that_are_not_what_the_job_says(self, wire):
        depth = np.full((4, 4), np.nan, np.float32)
        wire.upload(depth)
        wire.send(Submit("bad", job(init_image=digest_of(depth))))
        assert wire.receive().error.field == "job.init_image"

    def test_a_frame_over_the_limit_costs_the_connection_and_nothing_else(self, run_server):
        limits = Limits(message_bytes=100_000, text_bytes=50_000)
        with run_server(limits=limits) as server:
            with server.open(max_size=None) as websocket:
                wire = Wire(websocket)
                wire.identify()
                wire.send(bytes(100_000))
                assert wire.receive().error.code is ErrorCode.INVALID_MESSAGE
                wire.send(bytes(100_001))
                with pytest.raises(ConnectionClosed) as caught:
                    wire.receive()
                assert caught.value.rcvd.code == 1009
            with connect(server.url, TOKEN) as client:
                client.run_job(job())

    def test_a_client_that_vanishes_in_the_middle_of_an_upload(self, server):
        frame = encode_binary(Upload((describe("", IMAGE, DIGEST),)), [IMAGE])
        websocket = server.open(legacy=True)
        wire = Wire(websocket)
        wire.identify()
        header = b"\x82\xfe" + len(frame).to_bytes(2, "big") + bytes(4)
        websocket.socket.sendall(header + frame[: len(frame) // 2])
        websocket.socket.close()
        with connect(server.url, TOKEN) as client:
            result = client.run_job(job(init_image=DIGEST), {DIGEST: IMAGE})
        np.testing.assert_array_equal(result.tensors["image/0"], 255 - IMAGE)

    def test_a_full_store_is_told_with_the_tensor(self, run_server):
        with run_server(Desk(store_limit=100)) as server, connect(server.url, TOKEN) as client:
            with pytest.raises(ScumbleError) as caught:
                client.run_job(job(init_image=DIGEST), {DIGEST: IMAGE})
            assert caught.value.code is ErrorCode.TOO_LARGE
