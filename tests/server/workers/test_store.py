"""The store's promises: within budget, oldest first, pinned never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scumble_server.workers.store import TensorStore
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.tensor import digest_of


def tensor(size, value=0):
    return np.full(size, value, np.uint8)


def filled(budget, *names, size=10):
    store = TensorStore(budget)
    for name in names:
        store.put(name, tensor(size))
    return store


ONCE = f"once:{'0' * 32}:1"


class TestOneOffNames:
    def test_leave_with_the_last_who_needs_them(self):
        store = filled(100, ONCE, "a")
        store.pin([ONCE, "a"])
        store.pin([ONCE])
        store.unpin([ONCE, "a"])
        assert ONCE in store
        store.unpin([ONCE])
        assert store.missing([ONCE, "a"]) == (ONCE,)
        assert (store.used_bytes, store.pinned_bytes) == (10, 0)

    def test_wait_for_their_job_as_long_as_there_is_room(self):
        store = filled(20, ONCE, "a")
        assert ONCE in store
        store.put("b", tensor(10))
        assert ONCE not in store


class TestMissing:
    def test_names_what_is_not_stored_once_in_order(self):
        store = filled(100, "b")
        assert store.missing(["c", "b", "a", "c"]) == ("c", "a")

    def test_asking_counts_as_use(self):
        store = filled(30, "a", "b", "c")
        store.missing(["a"])
        store.put("d", tensor(10))
        assert store.missing(["a", "b", "c", "d"]) == ("b",)


class TestPut:
    def test_returns_the_same_values(self):
        store = TensorStore(1000)
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        store.put(digest_of(array), array)
        np.testing.assert_array_equal(store.get(digest_of(array)), array)

    def test_what_is_stored_cannot_be_changed(self):
        store = filled(100, "a")
        with pytest.raises(ValueError, match="read-only"):
            store.get("a")[0] = 1

    def test_the_least_recently_used_leaves_first(self):
        store = filled(30, "a", "b", "c")
        store.get("a")
        store.put("d", tensor(10))
        assert "b" not in store
        assert "a" in store

    def test_exactly_the_budget_fits_and_one_byte_more_never_does(self):
        store = TensorStore(100)
        store.put("fits", tensor(100))
        with pytest.raises(ScumbleError) as refused:
            store.put("large", tensor(101))
        assert refused.value.code is ErrorCode.TOO_LARGE
        assert "fits" in store

    def test_again_is_nothing_new(self):
        store = filled(100, "a", "a", "a")
        assert store.used_bytes == 10

    def test_a_slice_of_a_large_frame_does_not_keep_the_frame(self):
        frame = np.frombuffer(bytes(1_000_000), np.uint8)
        store = TensorStore(100)
        store.put("a", frame[:10])
        assert store.get("a").base is None or store.get("a").base.nbytes == 10

    def test_a_whole_buffer_is_not_copied(self):
        array = tensor(100_000)
        store = TensorStore(200_000)
        store.put("a", array)
        assert np.shares_memory(store.get("a"), array)

    def test_an_empty_tensor_is_a_tensor(self):
        store = TensorStore(10)
        store.put("nothing", np.empty((0, 3), np.float32))
        assert store.get("nothing").shape == (0, 3)


class TestPins:
    def test_pinned_tensors_outlive_newer_ones(self):
        store = filled(30, "a", "b", "c")
        store.pin(["a", "b"])
        store.put("d", tensor(10))
        store.put("e", tensor(10))
        assert store.missing("abcde") == ("c", "d")

    def test_no_room_beside_pinned_ones_is_busy_not_too_large(self):
        store = filled(20, "a")
        store.pin(["a"])
        with pytest.raises(ScumbleError) as refused:
            store.put("b", tensor(11))
        assert refused.value.code is ErrorCode.BUSY
        assert refused.value.info.retryable

    def test_each_pin_needs_its_unpin(self):
        store = filled(10, "a")
        store.pin(["a"])
        store.pin(["a"])
        store.unpin(["a"])
        assert not store.has_room(1)
        store.unpin(["a"])
        assert store.has_room(10)

    def test_pinning_something_unknown_pins_nothing(self):
        store = filled(10, "a")
        with pytest.raises(KeyError):
            store.pin(["a", "unknown"])
        assert store.pinned_bytes == 0

    def test_unpinning_what_is_not_pinned_is_a_bug(self):
        with pytest.raises(KeyError):
            filled(10, "a").unpin(["a"])


class StoreMachine(RuleBasedStateMachine):
    """Any order of calls, against a list of what must still be there."""

    @initialize(budget=st.integers(1, 60))
    def start(self, budget):
        self.budget = budget
        self.store = TensorStore(budget)
        self.pinned = []

    @rule(name=st.integers(0, 9), size=st.integers(0, 30))
    def put(self, name, size):
        digest = f"{name}:{size}"
        if digest in self.store or self.store.has_room(size):
            self.store.put(digest, tensor(size))
            assert digest in self.store
        else:
            with pytest.raises(ScumbleError) as refused:
                self.store.put(digest, tensor(size))
            assert refused.value.code is (ErrorCode.TOO_LARGE if size > self.budget else ErrorCode.BUSY)

    @rule(name=st.integers(0, 9), size=st.integers(0, 30))
    def pin(self, name, size):
        digest = f"{name}:{size}"
        if digest in self.store:
            self.store.pin([digest])
            self.pinned.append(digest)

    @rule(data=st.data())
    def unpin(self, data):
        if self.pinned:
            index = data.draw(st.integers(0, len(self.pinned) - 1))
            self.store.unpin([self.pinned.pop(index)])

    @invariant()
    def keeps_its_books(self):
        if not hasattr(self, "store"):
            return
        assert self.store.used_bytes <= self.budget
        assert self.store.missing(self.pinned) == ()
        assert self.store.pinned_bytes == sum(self.store.get(digest).nbytes for digest in set(self.pinned))


TestStoreMachine = StoreMachine.TestCase


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 5))
def test_keeps_exactly_the_most_recently_used(names, room):
    store = TensorStore(room)
    for name in names:
        store.put(str(name), tensor(1))
    recent = list(dict.fromkeys(reversed(names)))[:room]
    assert {name for name in range(6) if str(name) in store} == set(recent)
