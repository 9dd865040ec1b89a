"""Compression for the network: exact where it must be, and harmless whatever arrives."""

from __future__ import annotations

import io

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scumble_server.net.codecs import EDGE_CODECS, WebpCodec, ZstdCodec
from scumble_shared.codec import decode_binary, describe, encode_binary
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import ClientMessage, TensorInfo, Upload
from scumble_shared.tensor import DTYPES

PICTURE = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
TENSORS = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
PICTURES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape)
)


def refusal(codec, data, dtype, shape):
    with pytest.raises(ScumbleError) as caught:
        codec.decode(memoryview(data), dtype, shape)
    return caught.value.info


class TestZstd:
    @given(TENSORS)
    def test_every_tensor_survives(self, array):
        again = ZstdCodec().decode(memoryview(ZstdCodec().encode(array)), array.dtype.name, array.shape)
        assert (again.dtype.name, again.shape) == (array.dtype.name, array.shape)
        np.testing.assert_array_equal(again, array)

    def test_any_memory_order(self):
        array = PICTURE.transpose(1, 0, 2)
        again = ZstdCodec().decode(memoryview(ZstdCodec().encode(array)), "uint8", array.shape)
        np.testing.assert_array_equal(again, array)

    def test_a_bomb_is_refused_by_what_it_announces(self):
        bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
        assert len(bomb) < 10_000
        assert "50000000" in refusal(ZstdCodec(), bomb, "uint8", (100,)).message

    def test_one_that_announces_nothing_is_refused(self):
        silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
        assert refusal(ZstdCodec(), silent, "uint8", (100,)).code is ErrorCode.INVALID_FIELD

    @pytest.mark.parametrize("size", [99, 101])
    def test_other_sizes_than_described(self, size):
        refusal(ZstdCodec(), ZstdCodec().encode(np.zeros(size, np.uint8)), "uint8", (100,))

    def test_something_after_the_end(self):
        refusal(ZstdCodec(), ZstdCodec().encode(np.zeros(100, np.uint8)) + b"x", "uint8", (100,))

    @given(st.binary(max_size=60))
    def test_garbage(self, data):
        for attempt in (data, ZstdCodec().encode(np.zeros(100, np.uint8))[:8] + data):
            refusal(ZstdCodec(), attempt, "uint8", (100,))


class TestWebp:
    @given(PICTURES)
    def test_lossless_is_exact(self, array):
        again = WebpCodec().decode(memoryview(WebpCodec().encode(array)), "uint8", array.shape)
        np.testing.assert_array_equal(again, array)

    def test_lossy_is_close_and_much_smaller(self):
        y, x = np.mgrid[0:128, 0:128]
        smooth = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
        lossless, lossy = WebpCodec().encode(smooth), WebpCodec().encode(smooth, lossy=True)
        again = WebpCodec().decode(memoryview(lossy), "uint8", smooth.shape)
        assert np.abs(again.astype(int) - smooth).mean() < 4
        assert len(lossy) < smooth.nbytes / 10
        assert len(lossless) < smooth.nbytes / 2

    @pytest.mark.parametrize("shape", [(24, 31, 3), (32, 24, 3), (24, 32, 2), (24, 32), (20_000, 32, 3)])
    def test_other_sizes_than_described(self, shape):
        refusal(WebpCodec(), WebpCodec().encode(PICTURE), "uint8", shape)

    def test_other_formats_are_not_even_tried(self):
        for name in ("PNG", "JPEG", "TIFF", "GIF"):
            file = io.BytesIO()
            Image.fromarray(PICTURE).save(file, name)
            refusal(WebpCodec(), file.getvalue(), "uint8", PICTURE.shape)

    def test_animations(self):
        file = io.BytesIO()
        frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
        frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
        refusal(WebpCodec(), file.getvalue(), "uint8", PICTURE.shape)

    @given(st.binary(max_size=60), st.integers(0, 200))
    def test_garbage(self, data, keep):
        for attempt in (data, WebpCodec().encode(PICTURE)[:keep] + data):
            refusal(WebpCodec(), attempt, "uint8", PICTURE.shape)

    @pytest.mark.parametrize(
        "array",
        [PICTURE.astype(np.uint16), PICTURE[..., 0], PICTURE[..., :2], PICTURE[:0], np.zeros((1, 16384, 3), np.uint8)],
    )
    def test_what_is_no_picture_does_not_suit(self, array):
        assert not WebpCodec().suits(array)


class TestChoosing:
    def test_the_first_wanted_that_suits(self):
        depth = np.ones((4, 4), np.float16)
        assert EDGE_CODECS.choose(PICTURE, ("webp", "zstd", "raw")) == "webp"
        assert EDGE_CODECS.choose(depth, ("webp", "zstd", "raw")) == "zstd"
        assert EDGE_CODECS.choose(depth, ("webp",)) == "raw"
        assert EDGE_CODECS.choose(depth, ("jpeg-xl", "raw", "zstd")) == "raw"

    def test_an_error_names_the_tensor(self):
        data = encode_binary(
            Upload((describe("a", PICTURE), describe("b", PICTURE, codec="zstd"))), [PICTURE] * 2, EDGE_CODECS
        )
        decoded = decode_binary(data, ClientMessage, codecs=EDGE_CODECS)
        np.testing.assert_array_equal(decoded.tensors[1], PICTURE)
        height, width, channels = PICTURE.shape
        turned = TensorInfo("b", "uint8", (width, height, channels), "webp")
        wrong = encode_binary(Upload((describe("a", PICTURE), turned)), [PICTURE] * 2, EDGE_CODECS)
        with pytest.raises(ScumbleError) as caught:
            decode_binary(wrong, ClientMessage, codecs=EDGE_CODECS)
        assert caught.value.info.field == "tensors[1]"
