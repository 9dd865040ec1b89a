"""A ring keeps what it was given until it is taken, and says when it is full."""

from __future__ import annotations

from collections import deque
from multiprocessing.shared_memory import SharedMemory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.workers.ring import Ring

SIZE = 4096


@pytest.fixture(scope="module")
def ends():
    writer = Ring.create(SIZE)
    reader = Ring.attach(writer.name)
    yield writer, reader
    reader.close()
    writer.close()


def take(reader, position, length):
    blob = bytearray(length)
    reader.take(position, memoryview(blob))
    return bytes(blob)


@given(data=st.data(), actions=st.lists(st.booleans(), max_size=60))
def test_what_is_put_in_comes_out_whatever_the_order_of_writing_and_reading(ends, data, actions):
    writer, reader = ends
    waiting = deque()
    for putting in actions:
        if putting:
            blob = data.draw(st.binary(min_size=1, max_size=SIZE // 2))
            position = writer.put(memoryview(blob))
            if position is not None:
                waiting.append((position, blob))
        elif waiting:
            position, blob = waiting.popleft()
            assert take(reader, position, len(blob)) == blob
    for position, blob in waiting:
        assert take(reader, position, len(blob)) == blob


def test_a_blob_finds_no_room_until_enough_was_taken(ends):
    writer, reader = ends
    half = bytes(SIZE // 2 - 64)
    positions = [writer.put(memoryview(half)), writer.put(memoryview(half))]
    while positions[-1] is not None:
        positions.append(writer.put(memoryview(half)))
    kept = [position for position in positions if position is not None]
    assert kept, "an empty ring takes half its size"
    for position in kept:
        take(reader, position, len(half))
    last = writer.put(memoryview(half))
    assert last is not None
    take(reader, last, len(half))


def test_a_blob_larger_than_the_ring_never_fits(ends):
    assert ends[0].put(memoryview(bytes(SIZE + 1))) is None


def test_nothing_is_left_behind_when_the_maker_closes():
    ring = Ring.create(SIZE)
    ring.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(ring.name)


def test_one_cannot_be_opened_that_was_closed():
    ring = Ring.create(SIZE)
    name = ring.name
    ring.close()
    with pytest.raises(FileNotFoundError):
        Ring.attach(name)
