"""When to look, when to begin, when to give up: the newest always wins. No clock, no Blender, no network in here.

At most two jobs are with the server: one that runs, and, in the last moments of it, one that waits behind it so that
the server needn't wait for us. What changes meanwhile is not queued at all: the next job shows whatever is to be seen
when it begins. A *draft* follows changes, at the size and steps that hold the rate; a *refine* comes when the
view has rested, at the artist's own size and steps.

The rules, for jobs that no longer show what is to be seen (*outdated*):

- A refine is cancelled as soon as a newer draft is sent.
- A draft that waits behind another, which takes longer than expected, is cancelled before it starts, and not replaced
  until the one before it has ended.
- A draft that runs is let finish, unless giving it up helps: the changes have settled, most of its time is still to
  come, and that is long. Then a newer one is sent, and it is cancelled. Two drafts in a row are never given up, so
  every second one at least is a picture, however restless the view.

Nothing is cancelled on suspicion: Blender tells of many changes that change nothing to be seen, and only the capture
for the next draft shows which do (:meth:`Schedule.unchanged`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Action", "Cancel", "Policy", "Schedule", "Start"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds, unless said otherwise.

    period: between two drafts at the least. refine: whether a rested view gets one. rest: without changes until it
    does. settle: without changes until giving up a running draft may help. worth: that it must still have to go then,
    and worth_part, of its whole time. lead: before the end of a job from which the next may be sent. breath: pause
    after each capture, in times of what it took, so that heavy scenes stay responsive.
    """

    period: float = 0.2
    refine: bool = True
    rest: float = 0.4
    settle: float = 0.08
    worth: float = 0.25
    worth_part: float = 0.4
    lead: float = 0.02
    breath: float = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """Capture what is to be seen now, and submit it."""

    refine: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: str


Action = Start | Cancel


@dataclass(slots=True)
class _Flight:
    """A job with the server. version: of what it shows. expected: seconds it should take from ``begin`` on."""

    job_id: str
    version: int
    refine: bool
    sent: float
    begin: float
    expected: float
    running: bool = False
    led: bool = False  # the next was sent behind it
    superseded: bool = False  # the next was sent in its place
    cancelled: bool = False

    def left(self, now: float) -> float:
        return max(0.0, self.begin + self.expected - now)


class Schedule:
    """Tell it what happens, ask :meth:`decide` what to do, and tell it what became of that.

    ``now`` is any clock that doesn't go back, in seconds.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._version = 0  # of what is to be seen; grows with every change
        self._changed_at = 0.0
        self._begun = 0  # version that the newest draft shows, or that was found to need none
        self._drawn = 0  # version whose draft is done
        self._refined = 0  # version whose refine was begun
        self._flights: list[_Flight] = []
        self._not_before = 0.0
        self._wasted = False  # the latest draft to end was given up
        self._paused = False

    @property
    def flying(self) -> tuple[str, ...]:
        """Jobs that haven't ended, oldest first."""
        return tuple(flight.job_id for flight in self._flights)

    # --- what happens -------------------------------------------------------------------------------

    def changed(self, now: float) -> None:
        """What is to be seen, or how it should look, may not be what it was."""
        self._version += 1
        self._changed_at = now

    def pause(self) -> None:
        """Everything is given up, and nothing begun."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Whatever happened in the meantime counts as one change."""
        if self._paused:
            self._paused = False
            self.changed(now)

    def submitted(self, now: float, job_id: str, start: Start, expected: float, cost: float = 0.0) -> None:
        """``start`` was done. expected: seconds until its result. cost: of Blender's time that the capture took."""
        begin = now
        for flight in self._alive():
            left = flight.left(now)
            if flight.refine or left > self.policy.lead:
                flight.superseded = True
            else:
                flight.led = True
                begin += left
        self._flights.append(_Flight(job_id, self._version, start.refine, now, begin, expected))
        if start.refine:
            self._refined = self._version
        else:
            self._begun = self._version
            self._not_before = now + max(cost * self.policy.breath, self.policy.period - cost)

    def unchanged(self, now: float, cost: float = 0.0) -> None:
        """A draft was to start, and what is seen is just what the latest one shows: as if nothing had changed."""
        for flight in self._flights:
            if flight.version == self._begun:
                flight.version = self._version
        if self._drawn == self._begun:
            self._drawn = self._version
        if self._refined == self._begun:
            self._refined = self._version
        self._begun = self._version
        self._not_before = now + cost * self.policy.breath

    def impossible(self, now: float, cost: float = 0.0) -> None:
        """What was to start can't be; there is nothing to do until the next change."""
        self._begun = self._drawn = self._refined = self._version
        self._not_before = now + cost * self.policy.breath

    def running(self, now: float, job_id: str) -> None:
        """The server has taken it up."""
        if (flight := self._find(job_id)) is not None and not flight.running:
            flight.running, flight.begin = True, now

    def stepped(self, now: float, job_id: str, fraction: float) -> None:
        """How far it is, in (0, 1]: a better guess at its end than what was expected."""
        if (flight := self._find(job_id)) is not None and flight.running and fraction > 0.0:
            flight.expected = (now - flight.begin) / fraction

    def ended(self, job_id: str, *, done: bool) -> None:
        """done: with a result. One that failed isn't tried again until something changes."""
        flight = self._find(job_id)
        if flight is None:
            return
        self._flights.remove(flight)
        if flight.refine:
            if flight.cancelled and not done and self._refined == flight.version:
                self._refined = 0
            return
        if done:
            self._drawn = max(self._drawn, flight.version)
        if done or flight.running:
            self._wasted = not done

    # --- what to do ---------------------------------------------------------------------------------

    def decide(self, now: float) -> list[Action]:
        """What to do now, in this order. Each Cancel is told once; there is at most one Start, and it comes last."""
        actions: list[Action] = []
        for position, flight in enumerate(self._flights):
            if not flight.cancelled and self._is_given_up(position, flight, now):
                flight.cancelled = True
                actions.append(Cancel(flight.job_id))
        start = None if self._paused else self._next(now)
        return actions if start is None else [*actions, start]

    def wake_at(self) -> float | None:
        """When :meth:`decide` will have a Start if nothing happens until then. None: never, or only after a job's end
        or progress."""
        if self._paused:
            return None
        if self._begun < self._version:
            return None if self._drafts() else self._not_before
        return self._changed_at + self.policy.rest if self._wants_refine() else None

    def _find(self, job_id: str) -> _Flight | None:
        return next((flight for flight in self._flights if flight.job_id == job_id), None)

    def _alive(self) -> list[_Flight]:
        return [flight for flight in self._flights if not flight.cancelled]

    def _drafts(self) -> list[_Flight]:
        return [flight for flight in self._alive() if not flight.refine]

    def _is_given_up(self, position: int, flight: _Flight, now: float) -> bool:
        if self._paused or flight.superseded:
            return True
        waits = position > 0 and not flight.running and not flight.refine
        return waits and flight.version != self._version and now - flight.sent > 2.0 * self.policy.lead

    def _next(self, now: float) -> Start | None:
        if self._begun < self._version:
            drafts = self._drafts()
            free = not drafts or (len(drafts) == 1 and self._may_follow(drafts[0], now))
            return Start(refine=False) if free and now >= self._not_before else None
        if self._wants_refine() and now - self._changed_at >= self.policy.rest:
            return Start(refine=True)
        return None

    def _may_follow(self, flight: _Flight, now: float) -> bool:
        """Whether a newer draft may be sent behind, or in place of, the one outdated draft that is with the server."""
        if not flight.running or flight.led:
            return False
        left, policy = flight.left(now), self.policy
        if left <= policy.lead:
            return True
        long = left > max(policy.worth, policy.worth_part * flight.expected)
        return long and not self._wasted and now - self._changed_at >= policy.settle

    def _wants_refine(self) -> bool:
        current = self._version
        return self.policy.refine and self._drawn == current != self._refined and not self._alive()
