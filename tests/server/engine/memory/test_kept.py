"""What stays loaded is what there is room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.engine.memory.kept import Kept
from scumble_server.memory.machine import Bytes

ROOM = Bytes(10, 100)


def make(kept: Kept[str], name: str, device: int, ram: int = 0, owner: str | None = None) -> str:
    return kept.get(name, Bytes(device, ram), lambda: name, owner)


class TestKept:
    def test_what_was_used_longest_ago_goes_for_what_does_not_fit(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        for name in ("a", "b", "c"):
            kept.begin(Bytes())
            make(kept, name, 4)
        assert gone == ["a"]
        kept.begin(Bytes())
        make(kept, "b", 4)
        make(kept, "d", 4)
        assert gone == ["a", "c"]

    def test_several_stay_while_they_fit(self):
        kept = Kept(ROOM, lambda value: None)
        for name in ("a", "b", "c", "d", "e"):
            kept.begin(Bytes())
            make(kept, name, 2)
        assert len(kept) == 5
        assert kept.taken == Bytes(10, 0)

    def test_memory_of_the_computer_counts_by_itself(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        for name in ("a", "b"):
            kept.begin(Bytes())
            make(kept, name, 0, 60)
        assert gone == ["a"]

    def test_work_needs_room_too(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        make(kept, "a", 4)
        kept.begin(Bytes(5))
        make(kept, "b", 4)
        assert gone == ["a"]

    def test_it_goes_before_the_new_one_comes(self):
        kept: Kept[str] = Kept(ROOM, lambda value: None)
        make(kept, "a", 8)
        kept.begin(Bytes())
        seen: list[int] = []
        kept.get("b", Bytes(8), lambda: seen.append(len(kept)) or "b")
        assert seen == [0]

    def test_what_a_job_asked_for_stays_whatever_it_takes(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        kept.begin(Bytes())
        for name in ("model", "depth", "normal"):
            make(kept, name, 9)
        assert gone == []

    def test_what_belongs_to_a_value_goes_with_it(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        make(kept, "model", 4)
        make(kept, "depth", 1, owner="model")
        kept.begin(Bytes())
        make(kept, "other", 8)
        assert gone == ["depth", "model"]

    def test_giving_back_spares_the_present_job(self):
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        make(kept, "a", 1)
        kept.begin(Bytes())
        make(kept, "b", 1)
        assert kept.idle() == ["a"]
        assert kept.clear(wanted_too=False) == 1
        assert gone == ["a"]
        assert kept.clear() == 1

    def test_one_that_could_not_be_made_is_not_there(self):
        kept: Kept[str] = Kept(ROOM, lambda value: None)

        def fail() -> str:
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            kept.get("a", Bytes(1), fail)
        assert len(kept) == 0

    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 10)), max_size=40))
    def test_never_more_than_fits_beside_what_is_asked_for(self, wanted):
        takes: dict[str, int] = {}
        gone: list[str] = []
        kept = Kept(ROOM, gone.append)
        for name, size in wanted:
            kept.begin(Bytes())
            make(kept, name, takes.setdefault(name, size))
            assert kept.taken.device <= ROOM.device
            assert kept.idle().count(name) == 0
