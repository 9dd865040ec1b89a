"""The rules of live mode, without any Blender in them: what begins when, and at what quality."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

MODULE = "bl_ext.user_default.scumble"


@pytest.fixture(scope="module")
def rules(extension):
    return importlib.import_module(f"{MODULE}.live.schedule")


@pytest.fixture(scope="module")
def adapt(extension):
    return importlib.import_module(f"{MODULE}.live.adapt")


@dataclass
class World:
    """A schedule, and a server with one worker: drafts take ``draft`` seconds, refines ``refine``, a cancel a step."""

    rules: object
    schedule: object
    draft: float = 1.0
    refine: float = 4.0
    step: float = 0.05
    now: float = 0.0
    sent: list = field(default_factory=list)  # (time, job, refine), what was seen is the time itself
    cancelled: list = field(default_factory=list)
    drawn: list = field(default_factory=list)  # (time, job)
    waiting: list = field(default_factory=list)
    current: tuple | None = None  # (job, end)

    def advance(self, seconds, tick=0.01, changes=()):
        """changes: moments from now at which something changes."""
        pending, end = sorted(self.now + moment for moment in changes), self.now + seconds
        while self.now < end - 1e-9:
            self.now += tick
            while pending and pending[0] <= self.now:
                self.schedule.changed(pending.pop(0))
            self.serve()
            self.act()

    def act(self):
        for action in self.schedule.decide(self.now):
            if isinstance(action, self.rules.Cancel):
                self.cancelled.append(action.job_id)
            else:
                job = f"job{len(self.sent)}"
                self.sent.append((self.now, job, action.refine))
                self.waiting.append(job)
                self.schedule.submitted(self.now, job, action, self.refine if action.refine else self.draft)

    def serve(self):
        if self.current is not None:
            job, end = self.current
            if job in self.cancelled:
                end = min(end, self.now)
            if self.now < end:
                return
            self.current = None
            done = job not in self.cancelled
            if done:
                self.drawn.append((self.now, job))
            self.schedule.ended(job, done=done)
        while self.waiting and self.current is None:
            job = self.waiting.pop(0)
            if job in self.cancelled:
                self.schedule.ended(job, done=False)
            else:
                refine = next(refine for _, known, refine in self.sent if known == job)
                self.current = (job, self.now + (self.refine if refine else self.draft))
                self.schedule.running(self.now, job)

    def kinds(self):
        return ["refine" if refine else "draft" for _, _, refine in self.sent]


@pytest.fixture
def world(rules):
    return lambda policy=None, **facts: World(rules, rules.Schedule(policy or rules.Policy()), **facts)


# --- the loop ---------------------------------------------------------------------------------------


def test_nothing_seen_nothing_done(world):
    still = world()
    still.advance(10.0)
    assert still.sent == []
    assert still.schedule.wake_at() is None


def test_a_change_begins_a_draft_at_once_and_rest_a_refine(world):
    seen = world()
    seen.advance(0.05, changes=[0.03])
    assert [(round(time, 2), refine) for time, _, refine in seen.sent] == [(0.03, False)]
    seen.advance(10.0)
    assert seen.kinds() == ["draft", "refine"]
    assert len(seen.drawn) == 2
    assert seen.schedule.wake_at() is None


def test_a_refine_waits_for_rest_and_for_its_draft(world):
    quick = world(draft=0.1)
    quick.advance(3.0, changes=[0.01])
    assert quick.sent[1][0] == pytest.approx(0.41, abs=0.02)  # of the change, not of the draft's end
    slow = world(draft=2.0)
    slow.advance(3.0, changes=[0.01])
    assert slow.sent[1][0] == pytest.approx(2.01, abs=0.03)


def test_without_refining_a_still_view_has_one_draft(rules, world):
    seen = world(rules.Policy(refine=False))
    seen.advance(10.0, changes=[0.01])
    assert seen.kinds() == ["draft"]


def test_fifty_changes_in_a_burst_are_two_drafts_and_the_last_shows_the_last_change(world):
    burst = world(draft=1.0)
    burst.advance(5.0, changes=[0.01 * number for number in range(1, 51)])
    drafts = [time for time, _, refine in burst.sent if not refine]
    assert len(drafts) <= 3
    assert drafts[-1] >= 0.5
    last_draft = [job for _, job, refine in burst.sent if not refine][-1]
    assert last_draft in [job for _, job in burst.drawn]


def test_endless_movement_always_shows_something(world):
    restless = world(draft=1.0)
    restless.advance(20.0, changes=[0.016 * number for number in range(1, 1250)])
    assert restless.cancelled == []  # it never settles: giving up would only show less
    assert len(restless.drawn) >= 18
    assert "refine" not in restless.kinds()


def test_movement_that_stops_and_goes_never_starves(world):
    nudged = world(draft=1.0)
    nudged.advance(20.0, changes=[0.2 * number for number in range(1, 100)])
    assert nudged.cancelled
    assert len(nudged.drawn) + 1 >= len(nudged.cancelled)  # the last one is still being painted
    gaps = [later - earlier for (earlier, _), (later, _) in zip(nudged.drawn, nudged.drawn[1:], strict=False)]
    assert max(gaps) < 2.5


def test_a_long_draft_of_a_view_that_has_moved_on_is_given_up_for_a_newer_one(world):
    moved = world(draft=2.0)
    moved.advance(1.0, changes=[0.01, 0.3])
    assert moved.cancelled == ["job0"]
    assert moved.sent[1][0] == pytest.approx(0.38, abs=0.02)  # once it had settled
    assert [action for action in moved.sent if action[0] < 0.38] == moved.sent[:1]


def test_a_nearly_finished_draft_and_a_short_one_are_let_end(world):
    late = world(draft=2.0)
    late.advance(3.0, changes=[0.01, 1.5])
    assert late.cancelled == []
    short = world(draft=0.25)
    short.advance(3.0, changes=[0.01, 0.05])
    assert short.cancelled == []


def test_a_refine_gives_way_to_the_next_draft(world):
    seen = world(draft=0.2, refine=10.0)
    seen.advance(1.0, changes=[0.01])
    assert seen.kinds() == ["draft", "refine"]
    seen.advance(0.1, changes=[0.01])
    assert seen.kinds() == ["draft", "refine", "draft"]
    assert seen.cancelled == ["job1"]
    assert seen.sent[2][0] == pytest.approx(1.01, abs=0.02)


def test_the_next_draft_is_sent_just_before_the_one_before_it_ends(rules, world):
    steady = world(rules.Policy(period=0.0, lead=0.05, refine=False), draft=0.5)
    steady.advance(3.0, tick=0.001, changes=[0.01 * number for number in range(1, 290)])
    gaps = [later - earlier for (earlier, _), (later, _) in zip(steady.drawn, steady.drawn[1:], strict=False)]
    assert all(gap == pytest.approx(0.5, abs=0.01) for gap in gaps[1:])  # the server never waits
    ahead = [end - time for (time, job, _), (end, drawn) in zip(steady.sent[1:], steady.drawn, strict=False)]
    assert all(lead <= 0.06 for lead in ahead)  # and what it gets is fresh


def test_a_waiting_draft_that_is_outdated_is_dropped_before_it_starts(rules):
    schedule = rules.Schedule(rules.Policy(period=0.0, lead=0.02))
    schedule.changed(0.0)
    [start] = schedule.decide(0.0)
    schedule.submitted(0.0, "slow", start, 1.0)
    schedule.running(0.0, "slow")
    schedule.changed(0.985)
    assert schedule.decide(0.985) == [start]
    schedule.submitted(0.985, "behind", start, 1.0)
    schedule.changed(1.0)
    assert schedule.decide(1.0) == []  # a little outdated is what every picture is
    assert schedule.decide(1.1) == [rules.Cancel("behind")]  # but "slow" takes longer than was thought
    assert schedule.decide(1.2) == []  # not replaced behind the same job once more
    schedule.ended("behind", done=False)
    schedule.ended("slow", done=True)
    assert schedule.decide(1.3) == [start]


def test_the_period_is_held_however_fast_the_server_is(rules, world):
    fast = world(rules.Policy(period=0.2, refine=False), draft=0.01)
    fast.advance(2.0, changes=[0.01 * number for number in range(1, 200)])
    assert len(fast.sent) in (10, 11)


def test_a_heavy_capture_is_followed_by_a_pause_of_its_own_length(rules):
    schedule = rules.Schedule(rules.Policy(period=0.1))
    schedule.changed(0.0)
    [start] = schedule.decide(0.0)
    schedule.submitted(0.5, "a", start, 0.1, cost=0.5)
    schedule.changed(0.6)
    schedule.running(0.6, "a")
    schedule.ended("a", done=True)
    assert schedule.decide(0.9) == []
    assert schedule.wake_at() == 1.0
    assert schedule.decide(1.0) == [start]


# --- changes that aren't ----------------------------------------------------------------------------


def test_a_change_that_changes_nothing_leaves_the_refine_alone(rules):
    schedule = rules.Schedule()
    schedule.changed(0.0)
    schedule.submitted(0.0, "draft", schedule.decide(0.0)[0], 0.1)
    schedule.ended("draft", done=True)
    [start] = schedule.decide(1.0)
    assert start.refine
    schedule.submitted(1.0, "refine", start, 10.0)
    schedule.changed(2.0)  # a selection, say
    assert schedule.decide(2.0) == [rules.Start(refine=False)]
    schedule.unchanged(2.0)
    assert schedule.decide(2.0) == []
    schedule.ended("refine", done=True)
    assert schedule.decide(20.0) == []
    assert schedule.wake_at() is None


def test_a_change_that_changes_nothing_leaves_a_long_draft_alone(rules):
    schedule = rules.Schedule()
    schedule.changed(0.0)
    schedule.submitted(0.0, "draft", schedule.decide(0.0)[0], 10.0)
    schedule.running(0.0, "draft")
    schedule.changed(1.0)
    assert schedule.decide(2.0) == [rules.Start(refine=False)]
    schedule.unchanged(2.0)
    assert schedule.decide(2.0) == []
    schedule.ended("draft", done=True)
    assert schedule.decide(10.0) == [rules.Start(refine=True)]


def test_what_cant_be_captured_is_left_until_something_changes(rules):
    schedule = rules.Schedule()
    schedule.changed(0.0)
    assert schedule.decide(0.0)
    schedule.impossible(0.0)
    assert schedule.decide(100.0) == []
    assert schedule.wake_at() is None
    schedule.changed(101.0)
    assert schedule.decide(101.0) == [rules.Start(refine=False)]


def test_a_failed_job_is_not_tried_again_by_itself(rules):
    schedule = rules.Schedule()
    schedule.changed(0.0)
    schedule.submitted(0.0, "a", schedule.decide(0.0)[0], 1.0)
    schedule.ended("a", done=False)
    assert schedule.decide(100.0) == []


def test_a_pause_gives_everything_up_and_ends_with_a_new_draft(rules):
    schedule = rules.Schedule()
    schedule.changed(0.0)
    schedule.submitted(0.0, "a", schedule.decide(0.0)[0], 1.0)
    schedule.pause()
    assert schedule.decide(0.1) == [rules.Cancel("a")]
    assert schedule.decide(0.2) == []
    schedule.changed(0.3)
    assert schedule.decide(5.0) == []
    assert schedule.wake_at() is None
    schedule.ended("a", done=False)
    schedule.resume(6.0)
    assert schedule.decide(6.0) == [rules.Start(refine=False)]


@settings(max_examples=60)
@given(
    changes=st.lists(st.floats(0.0, 5.8), max_size=60),
    draft=st.sampled_from([0.03, 0.3, 1.0, 2.5]),
    tick=st.sampled_from([0.005, 0.02, 0.1]),
)
def test_whatever_happens_few_jobs_fly_and_the_last_picture_is_of_the_last_change(rules, changes, draft, tick):
    seen = World(rules, rules.Schedule(), draft=draft)
    most = 0
    for part in range(12):
        now = seen.now
        seen.advance(0.5, tick, [moment - 0.5 * part for moment in changes if 0.5 * part <= moment < 0.5 * part + 0.5])
        most = max(most, len([job for job in seen.schedule.flying if job not in seen.cancelled]))
        assert seen.now > now
    seen.advance(20.0, tick)
    assert most <= 2
    assert seen.schedule.flying == ()
    assert seen.schedule.decide(seen.now + 100.0) == []
    if changes:
        drafts = [(time, job) for time, job, refine in seen.sent if not refine]
        assert drafts[-1][0] >= max(changes) - 1e-6
        assert seen.drawn[-1][1] == seen.sent[-1][1]
        assert seen.kinds()[-1] == "refine"
        assert len(drafts) <= len(changes)


# --- quality ----------------------------------------------------------------------------------------


def test_the_ladder_gives_up_steps_then_size_then_the_last_steps(adapt):
    def draft(side, steps):
        return adapt.Quality(side, side, steps, "small")

    rungs = adapt.ladder(adapt.Quality(512, 512, 20))
    assert rungs[-1] == adapt.Quality(512, 512, 20, "full")
    assert rungs[-4:-1] == (draft(448, 8), draft(512, 8), draft(512, 10))
    assert draft(256, 8) in rungs
    assert rungs[0] == draft(256, 1)
    few_steps = adapt.ladder(adapt.Quality(512, 512, 4))
    assert few_steps[-2] == draft(448, 4)


def test_steps_go_no_lower_than_the_model_can_take(adapt):
    rungs = adapt.ladder(adapt.Quality(256, 256, 6), 4)
    assert rungs == (adapt.Quality(256, 256, 4, "small"), adapt.Quality(256, 256, 6))


@given(width=st.integers(1, 2048), height=st.integers(1, 2048), steps=st.integers(1, 150))
def test_every_ladder_rises_to_what_the_artist_asked_for(adapt, width, height, steps):
    full = adapt.Quality(width, height, steps)
    rungs = adapt.ladder(full)
    costs = [rung.cost for rung in rungs]
    assert costs == sorted(set(costs))
    assert rungs[-1] == full
    for rung in rungs[:-1]:
        assert (rung.width % 64 == 0 and rung.height % 64 == 0) or (rung.width, rung.height) == (width, height)
        assert 1 <= rung.steps <= steps


def settle(controller, seconds_of, count=200):
    """The qualities of ``count`` jobs, one after the other."""
    seen = []
    for _ in range(count):
        seen.append(controller.quality)
        controller.measured(controller.quality, seconds_of(controller.quality))
    return seen


@given(
    fixed=st.floats(0.0, 0.3),
    slope=st.floats(1e-9, 1e-4),
    period=st.floats(0.02, 2.0),
    power=st.sampled_from([1.0, 1.25, 1.5]),
)
def test_the_quality_settles_and_stays(adapt, fixed, slope, period, power):
    rungs = adapt.ladder(adapt.Quality(512, 512, 20))
    controller = adapt.Controller(rungs, period)
    unit = rungs[0].cost

    def seconds_of(quality):
        return fixed + slope * unit * (quality.cost / unit) ** power

    seen = settle(controller, seconds_of)
    assert len(set(seen[-150:])) == 1
    assert seconds_of(seen[-1]) <= 1.15 * period or seen[-1] == rungs[0]


def test_a_fast_machine_reaches_the_artists_own_quality_and_keeps_it(adapt):
    controller = adapt.Controller(adapt.ladder(adapt.Quality(512, 512, 4)), 0.1)
    seen = settle(controller, lambda quality: 2e-8 * quality.cost)
    assert set(seen[4:]) == {controller.full}


def test_noise_of_a_tenth_moves_nothing(adapt):
    controller = adapt.Controller(adapt.ladder(adapt.Quality(512, 512, 8)), 0.2)
    settle(controller, lambda quality: 2e-7 * quality.cost)
    noise = iter([0.9, 1.1, 1.05, 0.95] * 100)
    assert len(set(settle(controller, lambda quality: 2e-7 * quality.cost * next(noise)))) == 1


def test_a_machine_that_becomes_busy_and_free_again_is_followed_both_ways(adapt):
    controller = adapt.Controller(adapt.ladder(adapt.Quality(512, 512, 8)), 0.2)
    before = settle(controller, lambda quality: 1e-7 * quality.cost)[-1]
    during = settle(controller, lambda quality: 3e-7 * quality.cost)[-1]
    after = settle(controller, lambda quality: 1e-7 * quality.cost)[-1]
    assert during.cost < before.cost
    assert after == before


def test_a_single_hiccup_is_forgotten(adapt):
    controller = adapt.Controller(adapt.ladder(adapt.Quality(512, 512, 8)), 0.2)
    before = settle(controller, lambda quality: 1e-7 * quality.cost)[-1]
    controller.measured(controller.quality, 3.0)
    assert settle(controller, lambda quality: 1e-7 * quality.cost)[-1] == before


def test_jobs_of_another_quality_say_nothing(adapt):
    controller = adapt.Controller(adapt.ladder(adapt.Quality(512, 512, 8)), 0.2)
    for _ in range(10):
        controller.measured(controller.full, 60.0)
    assert controller.per_cost is None
