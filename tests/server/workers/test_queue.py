"""The queue's promises: nobody over the limit, nobody starved, nothing lost, nothing twice."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scumble_server.workers.queue import FairQueue
from scumble_shared.errors import ErrorCode, ScumbleError


def queue_of(*jobs, limit=64):
    """Jobs as "a1": owner a."""
    queue = FairQueue(limit)
    for job in jobs:
        queue.add(job, job[0])
    return queue


def drain(queue):
    return list(iter(queue.take, None))


class TestOrder:
    def test_one_owner_is_served_first_come_first_served(self):
        assert drain(queue_of("a1", "a2", "a3")) == ["a1", "a2", "a3"]

    def test_owners_take_turns_however_much_one_has_queued(self):
        assert drain(queue_of("a1", "a2", "a3", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]

    def test_sending_jobs_one_by_one_gains_nothing(self):
        queue = queue_of("a1", "b1", "b2", "b3")
        served = [queue.take()]
        for number in range(2, 5):
            queue.add(f"a{number}", "a")  # as soon as the one before was taken
            served += [queue.take(), queue.take()]
        assert "".join(job[0] for job in served) == "abababa"

    def test_position_counts_the_jobs_that_go_before(self):
        queue = queue_of("a1", "a2", "a3", "b1")
        assert [queue.position(job) for job in ("a1", "b1", "a2", "a3")] == [0, 1, 2, 3]

    def test_position_of_something_unknown_is_a_bug(self):
        with pytest.raises(ValueError):
            queue_of("a1").position("b1")


class TestLimit:
    def test_the_limit_is_inclusive_and_per_owner(self):
        queue = queue_of("a1", "a2", limit=2)
        with pytest.raises(ScumbleError) as refused:
            queue.add("a3", "a")
        assert refused.value.code is ErrorCode.BUSY
        assert refused.value.info.retryable
        queue.add("b1", "b")
        assert len(queue) == 3

    def test_taking_or_removing_one_makes_room(self):
        queue = queue_of("a1", "a2", limit=2)
        queue.take()
        queue.add("a3", "a")
        queue.remove("a2")
        queue.add("a4", "a")
        assert drain(queue) == ["a3", "a4"]

    def test_an_id_waits_once(self):
        with pytest.raises(ValueError):
            queue_of("a1", "a1")


class TestRemove:
    def test_a_removed_job_is_never_taken(self):
        queue = queue_of("a1", "b1", "a2")
        assert queue.remove("b1")
        assert drain(queue) == ["a1", "a2"]

    def test_what_does_not_wait_cannot_be_removed(self):
        queue = queue_of("a1")
        queue.take()
        assert not queue.remove("a1")
        assert not queue.remove("unknown")


class QueueMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(1, 4))
    def start(self, limit):
        self.limit = limit
        self.queue = FairQueue(limit)
        self.waiting = []
        self.since = {}  # owner with jobs waiting -> owners served since its head job could have been taken
        self.ids = itertools.count()

    @rule(owner=st.sampled_from("abc"))
    def add(self, owner):
        mine = [job for job in self.waiting if job[0] == owner]
        job = f"{owner}{next(self.ids)}"
        try:
            self.queue.add(job, owner)
        except ScumbleError:
            assert len(mine) == self.limit
        else:
            assert len(mine) < self.limit
            self.waiting.append(job)
            self.since.setdefault(owner, [])

    @rule()
    def take(self):
        expected = self.queue.order()
        job = self.queue.take()
        assert job == (expected[0] if expected else None)
        if job is None:
            assert not self.waiting
            return
        owner = job[0]
        assert job == next(waiting for waiting in self.waiting if waiting[0] == owner)
        self.waiting.remove(job)
        self.since.pop(owner)
        for other, served in self.since.items():
            served.append(owner)
            assert served.count(owner) == 1, f"{other} waits while {served} are served"
        if any(waiting[0] == owner for waiting in self.waiting):
            self.since[owner] = []

    @rule(data=st.data())
    def remove(self, data):
        if self.waiting:
            job = data.draw(st.sampled_from(self.waiting))
            assert self.queue.remove(job)
            self.waiting.remove(job)
            if not any(waiting[0] == job[0] for waiting in self.waiting):
                self.since.pop(job[0])

    @invariant()
    def nothing_is_lost_or_doubled(self):
        if hasattr(self, "queue"):
            assert sorted(self.queue.order()) == sorted(self.waiting)
            assert len(self.queue) == len(self.waiting)


TestQueueMachine = QueueMachine.TestCase


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_the_announced_order_is_the_order(owners):
    queue = FairQueue(64)
    for number, owner in enumerate(owners):
        queue.add(f"{owner}{number}", owner)
    announced = queue.order()
    assert drain(queue) == announced


def test_an_endless_stream_of_newcomers_starves_nobody():
    queue = queue_of("a1", "a2")
    served = []
    for number in range(4):
        queue.add(f"newcomer{number}", f"newcomer{number}")
        served.append(queue.take())
    assert served == ["a1", "newcomer0", "a2", "newcomer1"]
