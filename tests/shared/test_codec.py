"""Frames: the bytes of version 1 are fixed, every tensor survives, and nothing that arrives can do harm."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from messages_made_up import error_code
from scumble_shared.codec import (
    PIECE_BYTES,
    WHOLE_BYTES,
    Assembler,
    check_tensor,
    decode_binary,
    decode_text,
    describe,
    encode_binary,
    encode_frames,
    encode_text,
)
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS, Limits
from scumble_shared.messages import Cancel, ClientMessage, Result, ServerMessage, TensorInfo, Upload
from scumble_shared.tensor import DTYPES, digest_of

REFUSALS = (
    None,
    ErrorCode.INVALID_MESSAGE,
    ErrorCode.INVALID_FIELD,
    ErrorCode.TOO_LARGE,
    ErrorCode.UNSUPPORTED,
)
RAMP = np.arange(6, dtype=np.uint16).reshape(2, 3)
ARRAYS = st.lists(
    hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)), max_size=4
)


def upload(*arrays):
    return Upload(tuple(describe(str(index), array) for index, array in enumerate(arrays)))


def frame(*arrays):
    return encode_binary(upload(*arrays), arrays)


def refusal(data, limits=DEFAULT_LIMITS, kind=ClientMessage):
    with pytest.raises(ScumbleError) as caught:
        decode_binary(data, kind, limits)
    return caught.value.info


def with_json(text: bytes, *blobs: bytes) -> bytes:
    """A frame around any JSON."""
    parts = struct.pack("<4sBBHI", b"SCMB", 1, 0, len(blobs), len(text)) + b"".join(
        len(blob).to_bytes(8, "little") for blob in blobs
    )
    parts += text
    for blob in blobs:
        parts += bytes(-len(parts) % 8) + blob
    return parts


class TestVersionOne:
    """A change here breaks every client that is out there."""

    def test_text_frame(self):
        assert encode_text(Cancel("j-1")) == '{"job_id":"j-1","type":"cancel"}'

    def test_binary_frame(self):
        text = (
            b'{"tensors":[{"name":"ramp","dtype":"uint16","shape":[2,3],"codec":"raw","digest":"d"}],"type":"upload"}'
        )
        assert len(text) == 103
        expected = b"".join(
            [
                b"SCMB",
                b"\x01\x00",  # version, flags
                b"\x01\x00",  # one blob
                b"\x67\x00\x00\x00",  # 103 bytes of JSON
                b"\x0c\x00\x00\x00\x00\x00\x00\x00",  # 12 bytes in the blob
                text,
                b"\x00" * 5,  # 123 -> 128
                b"\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00",
            ]
        )
        message = Upload((describe("ramp", RAMP, "d"),))
        assert encode_binary(message, [RAMP]) == expected
        decoded = decode_binary(expected, ClientMessage)
        assert decoded.message == message
        np.testing.assert_array_equal(decoded.by_name()["ramp"], RAMP)

    def test_pieces(self):
        whole = frame(np.zeros(100, np.uint8))
        limits = replace(DEFAULT_LIMITS, message_bytes=len(whole) - 1)
        first, second = encode_frames(upload(np.zeros(100, np.uint8)), [np.zeros(100, np.uint8)], limits)
        header = b"SCMP\x01\x00\x00\x00" + len(whole).to_bytes(8, "little")
        assert first == header + whole[: len(whole) - 1 - 16]
        assert second == header + whole[len(whole) - 1 - 16 :]

    def test_content_address(self):
        assert digest_of(RAMP) == hashlib.sha256(b"uint16:2,3:" + RAMP.astype("<u2").tobytes()).hexdigest()


class TestRoundTrip:
    @given(ARRAYS)
    def test_every_tensor_survives(self, arrays):
        decoded = decode_binary(frame(*arrays), ClientMessage)
        assert decoded.message == upload(*arrays)
        for before, after in zip(arrays, decoded.tensors, strict=True):
            assert (after.dtype.name, after.shape) == (before.dtype.name, before.shape)
            np.testing.assert_array_equal(after, before)

    def test_tensors_are_read_only_views_of_the_frame(self):
        data = frame(RAMP, np.ones((3, 3), np.float32))
        for array in decode_binary(data, ClientMessage).tensors:
            assert not array.flags.writeable
            assert np.shares_memory(array, np.frombuffer(data, np.uint8))
            assert array.ctypes.data % 8 == 0

    def test_any_memory_order_travels_in_c_order(self):
        for array in (RAMP.T, RAMP[:, ::2], RAMP.astype(">u2"), np.asfortranarray(RAMP)):
            np.testing.assert_array_equal(decode_binary(frame(array), ClientMessage).tensors[0], array)
            assert digest_of(array) == digest_of(np.array(array, "<u2", order="C"))

    @given(ARRAYS, st.integers(40, 400))
    def test_pieces_make_the_whole_again(self, arrays, message_bytes):
        limits = Limits(message_bytes=message_bytes)
        assembler = Assembler(limits)
        frames = list(encode_frames(upload(*arrays), arrays, limits))
        assert all(len(one) <= message_bytes for one in frames)
        wholes = [assembler.feed(one) for one in frames]
        assert all(whole is None for whole in wholes[:-1])
        assert bytes(wholes[-1]) == frame(*arrays)

    def test_small_frames_travel_whole_and_large_ones_in_small_pieces(self):
        small, large = np.zeros(WHOLE_BYTES - 1024, np.uint8), np.zeros(WHOLE_BYTES, np.uint8)
        assert list(encode_frames(upload(small), [small])) == [frame(small)]
        assert max(map(len, encode_frames(upload(large), [large]))) == PIECE_BYTES


class TestRefusals:
    def test_every_truncation(self):
        data = frame(RAMP, RAMP)
        for length in range(len(data)):
            assert refusal(data[:length]).code is ErrorCode.INVALID_MESSAGE

    def test_trailing_bytes(self):
        assert "more bytes" in refusal(frame(RAMP) + b"\0").message

    def test_padding_that_is_not_zero(self):
        data = bytearray(frame(RAMP))
        assert data[-13] == 0
        data[-13] = 1
        assert "padding" in refusal(bytes(data)).message

    @settings(max_examples=400)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data):
        for attempt in (data, b"SCMB\x01\x00" + data, with_json(data), with_json(data, b"x")):
            refusal(attempt)

    @settings(max_examples=400)
    @given(st.data())
    def test_any_flipped_bytes_give_a_message_or_a_typed_error(self, data):
        damaged = bytearray(frame(RAMP, np.ones((2, 2), np.float32)))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        assert error_code(lambda: decode_binary(bytes(damaged), ClientMessage)) in REFUSALS

    @pytest.mark.parametrize(
        ("info", "field"),
        [
            (TensorInfo("t", "float64", (2,)), "tensors[0].dtype"),
            (TensorInfo("t", "object", (2,)), "tensors[0].dtype"),
            (TensorInfo("t", "uint8", (-1, -12)), "tensors[0].shape"),
            (TensorInfo("t", "uint8", (1, 1, 1, 1, 12)), "tensors[0].shape"),
            (TensorInfo("t", "uint8", (0, 2**62, 2**62)), "tensors[0].shape"),
            (TensorInfo("t", "uint8", (13,)), "tensors[0]"),
            (TensorInfo("t", "uint8", (11,)), "tensors[0]"),
            (TensorInfo("t", "uint8", (12,), "gif"), "tensors[0].codec"),
        ],
    )
    def test_descriptions_that_do_not_fit_their_blob(self, info, field):
        data = encode_binary(Upload((describe("t", RAMP),)), [RAMP])
        text = encode_text(Upload((info,))).encode()
        assert refusal(with_json(text, data[-12:])).field == field

    def test_more_or_fewer_descriptions_than_blobs(self):
        text = encode_text(upload(RAMP)).encode()
        assert refusal(with_json(text)).field == "tensors"
        assert refusal(with_json(text, bytes(12), b"")).field == "tensors"

    def test_messages_in_the_wrong_kind_of_frame(self):
        assert refusal(with_json(encode_text(Cancel("j")).encode())).code is ErrorCode.INVALID_MESSAGE
        with pytest.raises(ScumbleError) as caught:
            decode_text(encode_text(upload()), ClientMessage)
        assert caught.value.code is ErrorCode.INVALID_MESSAGE

    def test_messages_of_the_other_side(self):
        result = encode_binary(Result("j", 1, ()), [])
        assert decode_binary(result, ServerMessage).message == Result("j", 1, ())
        assert refusal(result).code is ErrorCode.UNSUPPORTED

    def test_dtypes_that_cannot_travel(self):
        for dtype in (np.float64, np.int64, np.bool_, object):
            array = np.zeros(2, dtype)
            with pytest.raises(ScumbleError):
                encode_binary(Upload((TensorInfo("t", "uint8", (2,)),)), [array])


class TestLimits:
    """Each is inclusive: what is at the limit passes, one more is refused."""

    def test_text(self):
        text = encode_text(Cancel("ä"))
        size = len(text.encode())
        assert decode_text(text, ClientMessage, Limits(text_bytes=size)) == Cancel("ä")
        with pytest.raises(ScumbleError) as caught:
            decode_text(text, ClientMessage, Limits(text_bytes=size - 1))
        assert caught.value.code is ErrorCode.TOO_LARGE

    def test_json_part(self):
        data = frame(RAMP)
        (size,) = struct.unpack_from("<I", data, 8)
        decode_binary(data, ClientMessage, Limits(text_bytes=size))
        assert refusal(data, Limits(text_bytes=size - 1)).code is ErrorCode.TOO_LARGE

    def test_blobs(self):
        data = frame(RAMP, RAMP, RAMP)
        decode_binary(data, ClientMessage, Limits(blobs_per_frame=3))
        assert refusal(data, Limits(blobs_per_frame=2)).code is ErrorCode.TOO_LARGE

    def test_whole_message(self):
        data = frame(RAMP)
        decode_binary(data, ClientMessage, Limits(transfer_bytes=len(data)))
        assert refusal(data, Limits(transfer_bytes=len(data) - 1)).code is ErrorCode.TOO_LARGE

    def test_tensor(self):
        info = TensorInfo("t", "float32", (5, 5))
        check_tensor(info, Limits(transfer_bytes=100), "t")
        with pytest.raises(ScumbleError) as caught:
            check_tensor(info, Limits(transfer_bytes=99), "t")
        assert caught.value.code is ErrorCode.TOO_LARGE

    def test_rank(self):
        array = np.zeros((1, 1, 1), np.uint8)
        decode_binary(frame(array), ClientMessage, Limits(tensor_rank=3))
        assert refusal(frame(array), Limits(tensor_rank=2)).field == "tensors[0].shape"

    def test_pieces(self):
        array = np.zeros(200, np.uint8)
        size = len(frame(array))
        for slack, passes in ((0, True), (-1, False)):
            limits = Limits(message_bytes=64, transfer_bytes=size + slack)
            assembler = Assembler(limits)
            wholes = []
            errors = []
            for piece in encode_frames(upload(array), [array], limits):
                try:
                    wholes.append(assembler.feed(piece))
                except ScumbleError as error:
                    errors.append(error.code)
            assert (wholes[-1] is not None) is passes
            assert errors == ([] if passes else [ErrorCode.TOO_LARGE])


class TestAssembler:
    LIMITS = Limits(message_bytes=64)

    def pieces(self, value):
        array = np.full(200, value, np.uint8)
        return list(encode_frames(upload(array), [array], self.LIMITS)), frame(array)

    def refused(self, assembler, data):
        with pytest.raises(ScumbleError) as caught:
            assembler.feed(data)
        return caught.value.code

    def feed_all(self, assembler, pieces):
        return [assembler.feed(piece) for piece in pieces][-1]

    def test_goes_on_after_a_frame_in_between(self):
        assembler = Assembler(self.LIMITS)
        first, _ = self.pieces(1)
        second, whole = self.pieces(2)
        assembler.feed(first[0])
        assert self.refused(assembler, frame(RAMP)) is ErrorCode.INVALID_MESSAGE
        assert self.feed_all(assembler, first[1:]) is None
        assert bytes(self.feed_all(assembler, second)) == whole

    def test_goes_on_after_one_that_is_too_large(self):
        limits = replace(self.LIMITS, transfer_bytes=len(frame(np.zeros(200, np.uint8))))
        assembler = Assembler(limits)
        array = np.zeros(300, np.uint8)
        large = list(encode_frames(upload(array), [array], self.LIMITS))
        assert self.refused(assembler, large[0]) is ErrorCode.TOO_LARGE
        assert self.feed_all(assembler, large[1:]) is None
        pieces, whole = self.pieces(3)
        assert bytes(self.feed_all(assembler, pieces)) == whole

    def test_an_announcement_alone_allocates_nothing(self):
        announced = struct.pack("<4sB3xQ", b"SCMP", 1, 2**63) + b"x"
        assert self.refused(Assembler(), announced) is ErrorCode.TOO_LARGE

    @given(st.lists(st.binary(max_size=40).map(lambda tail: b"SCMP" + tail) | st.binary(max_size=20), max_size=8))
    def test_any_bytes(self, frames):
        assembler = Assembler(self.LIMITS)
        for data in frames:
            code = error_code(lambda data=data: assembler.feed(data))
            assert code in (None, ErrorCode.INVALID_MESSAGE, ErrorCode.TOO_LARGE)
