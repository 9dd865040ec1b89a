"""What is said through the pipe arrives: every message, every kind of tensor."""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scumble_server.workers import wire
from scumble_server.workers.ring import Ring
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction
from scumble_shared.job import (
    Control,
    ControlImagesJob,
    GenerateJob,
    MeshRef,
    ProjectJob,
    TextureJob,
    TextureView,
    View,
)
from scumble_shared.messages import Capabilities, ControlNetInfo, ModelInfo
from scumble_shared.tensor import DTYPES

CAMERA = Camera(look_at((1, 2, 3), (0, 0, 0)), perspective(0.7, 1.5, 0.1, 100.0), 64, 48, 0.1, 100.0)
VIEW = View(CAMERA, depth="d" * 64, normal="n" * 64)
ERROR = ErrorInfo(ErrorCode.OUT_OF_MEMORY, "no", "job.width", True, Remedy("less", RemedyAction.REDUCE_SIZE, "8x8"))
MODEL = ModelInfo("m", "M", "sd15", "ddim", 20, 7.5, 512, 512, ("depth",), "note")

CONTROLNET = ControlNetInfo("c", "C", "sd15", ())

MESSAGES = [
    wire.Work("j", GenerateJob("prompt ü", controls=(Control("depth", near=1.0),), view=VIEW), ("d" * 64,), False),
    wire.Work("j", ControlImagesJob((Control("normal"),), VIEW)),
    wire.Work("j", ProjectJob("i" * 64, VIEW, (MeshRef("Cube", 1, CAMERA.view, "v", "t", "n", "u"),), ("b" * 64,))),
    wire.Work("j", TextureJob("p", (), views=(TextureView(CAMERA, "door", "i" * 64),), method="sequential")),
    wire.CancelWork("j"),
    wire.PreviewTaken(),
    wire.StopWorker(),
    wire.WorkerReady(
        Capabilities(("generate",), ("ddim",), models=(MODEL,), controlnets=(ControlNetInfo("c", "C", "sd15", ()),))
    ),
    wire.WarmedUp(),
    wire.WarmedUp(ERROR),
    wire.StartFailed(ERROR),
    wire.WorkProgress("j", "denoising", 3, 20, 0.15),
    wire.WorkProgress("", "loading"),
    wire.WorkPreview("j", 3, 20),
    wire.WorkResult("j", ("image/0",), ("d" * 64,), "{}"),
    wire.WorkFailed("j", ERROR),
    wire.WorkCancelled("j"),
]


@pytest.fixture(scope="module", params=["pipe alone", "with rings"])
def across(request):
    """Sends a message with tensors, and gives what arrives."""
    here, there = multiprocessing.Pipe()
    if request.param == "pipe alone":
        ours, theirs = wire.Line(here), wire.Line(there)
    else:
        ring = Ring.create(1_000_000)
        ours, theirs = wire.Line(here, outgoing=ring), wire.Line(there, incoming=Ring.attach(ring.name))

    def send(message, tensors=()):
        sender = threading.Thread(target=ours.send, args=(message, tensors))
        sender.start()
        received = theirs.receive()
        sender.join()
        return received

    yield send
    theirs.close()
    ours.close()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_every_message_arrives_as_it_was(across, message):
    assert across(message) == (message, [])


TENSORS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@given(st.lists(TENSORS, max_size=4))
def test_every_tensor_arrives_bit_for_bit_and_can_be_written_to(across, tensors):
    _, received = across(wire.PreviewTaken(), tensors)
    assert len(received) == len(tensors)
    for sent, got in zip(tensors, received, strict=True):
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
        assert got.tobytes() == sent.tobytes()
        assert got.flags.writeable


@pytest.mark.parametrize(
    "tensor",
    [
        np.arange(24, dtype=np.float32).reshape(4, 6).T,
        np.arange(24, dtype=np.uint16)[::-2],
        np.arange(5, dtype=">f4"),
        np.broadcast_to(np.float16(2.0), (3, 4)),
    ],
    ids=["transposed", "strided", "big-endian", "broadcast"],
)
def test_the_values_count_and_not_how_they_lie_in_memory(across, tensor):
    _, (received,) = across(wire.PreviewTaken(), [tensor])
    np.testing.assert_array_equal(received, tensor)


def test_a_tensor_larger_than_any_buffer_of_the_system_and_any_ring_arrives(across):
    large = np.random.default_rng(1).integers(0, 256, 20_000_000, dtype=np.uint8)
    _, (received,) = across(wire.PreviewTaken(), [large])
    assert np.array_equal(received, large)


def test_large_tensors_one_after_the_other_arrive_in_turn(across):
    random = np.random.default_rng(2)
    for _ in range(20):  # several times around a ring
        sent = [random.integers(0, 256, size, dtype=np.uint8) for size in (300_000, 70_000, 20)]
        _, received = across(wire.PreviewTaken(), sent)
        for ours, theirs in zip(sent, received, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_end_of_the_other_side_is_told():
    here, there = multiprocessing.Pipe()
    here.close()
    with there, pytest.raises(EOFError):
        wire.Line(there).receive()
