"""Size and steps of drafts, held to a rate by what jobs really take. No Blender in here.

Qualities form a ladder of falling cost (pixels x steps). Going up is done on an estimate that can't be too low as
long as time is a fixed part plus one that grows with cost; so a rung that is reached is kept, and nothing swings.
Where time grows faster than that, the rung that was too slow is remembered, and not tried again unless the machine
has become faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Controller", "Quality", "ladder"]

GRID = 64
"""Pixels; sides of drafts are multiples of it."""

SMALLEST = 256
"""Pixels of a draft's longer side, unless the artist's own is shorter."""

GOOD_STEPS = 8
"""Steps that are given up before size is."""

TOO_SLOW, FAST_ENOUGH = 1.15, 0.85
"""In periods: above the first goes down, estimated below the second goes up, between them nothing changes."""

HOPELESS = 2.0
"""Periods of a single job that are answered at once, without waiting for another such."""

SAMPLES = 3
"""Jobs in a row that must agree."""

FASTER = 0.8
"""Time per cost, of what it was on the same rung when a dearer one had just been too slow, at which that is retried."""

MUCH_FASTER = 0.5
"""Time per cost, of what it was on the rung that was too slow, at which that must have been a hiccup."""


@dataclass(frozen=True, slots=True)
class Quality:
    """width, height: pixels. decoder: of ``scumble_shared.job.DECODERS``."""

    width: int
    height: int
    steps: int
    decoder: str = "full"

    @property
    def cost(self) -> int:
        """In proportion to the work of denoising."""
        return self.width * self.height * self.steps


def ladder(full: Quality, fewest_steps: int = 1) -> tuple[Quality, ...]:
    """From the cheapest draft to ``full`` itself, each dearer than the one before; drafts by the small decoder.

    First steps are halved down to a few, then the size shrinks, then steps go down to ``fewest_steps``.
    """
    rungs = [full]
    steps = full.steps
    while steps > GOOD_STEPS:
        steps = max(GOOD_STEPS, steps // 2)
        rungs.append(Quality(full.width, full.height, steps, "small"))
    longer = max(full.width, full.height)
    for side in range((longer - 1) // GRID * GRID, min(SMALLEST, longer) - 1, -GRID):
        smaller = Quality(_scaled(full.width, side, longer), _scaled(full.height, side, longer), steps, "small")
        if smaller.cost < rungs[-1].cost:
            rungs.append(smaller)
    while steps > fewest_steps:
        steps = max(fewest_steps, steps // 2)
        rungs.append(Quality(rungs[-1].width, rungs[-1].height, steps, "small"))
    return tuple(reversed(rungs))


def _scaled(side: int, longer: int, full: int) -> int:
    return max(GRID, round(side * longer / full / GRID) * GRID)


class Controller:
    """rungs: of :func:`ladder`. period: seconds a draft may take. per_cost: seconds for a unit of cost, if known."""

    def __init__(self, rungs: Sequence[Quality], period: float, per_cost: float | None = None) -> None:
        self._rungs = tuple(rungs)
        self._period = period
        self._per_cost = per_cost
        self._recent: deque[float] = deque(maxlen=SAMPLES)
        self._ceiling = len(self._rungs)  # first rung known to be too slow
        self._ceiling_per_cost = 0.0  # measured on it
        self._baselines: dict[int, float] = {}  # time per cost on the rungs below, first seen after that
        self._at = 0 if per_cost is None else self._highest(per_cost, FAST_ENOUGH)

    @property
    def quality(self) -> Quality:
        """Of the next draft."""
        return self._rungs[self._at]

    @property
    def full(self) -> Quality:
        return self._rungs[-1]

    @property
    def per_cost(self) -> float | None:
        """Seconds per unit of cost by the latest measurement; None before the first."""
        return self._per_cost

    def expected(self, quality: Quality) -> float | None:
        """Seconds a job should take; None before anything was measured."""
        return None if self._per_cost is None else self._per_cost * quality.cost

    def measured(self, quality: Quality, seconds: float) -> None:
        """A job of ``quality`` took ``seconds``. What isn't of the present rung says nothing about it."""
        if quality != self.quality or seconds <= 0.0:
            return
        self._recent.append(seconds)
        usual = median(self._recent)
        self._per_cost = usual / quality.cost
        if seconds > HOPELESS * self._period and len(self._recent) == 1:
            self._go_down(seconds / quality.cost)
        elif len(self._recent) == SAMPLES and usual > TOO_SLOW * self._period:
            self._go_down(self._per_cost)
        elif len(self._recent) == SAMPLES:
            self._go_up(self._per_cost)

    def _go_down(self, per_cost: float) -> None:
        self._ceiling, self._ceiling_per_cost = self._at, per_cost
        self._baselines.clear()
        self._go_to(min(self._highest(per_cost, FAST_ENOUGH), max(0, self._at - 1)))

    def _go_up(self, per_cost: float) -> None:
        baseline = self._baselines.setdefault(self._at, per_cost)
        wanted = self._highest(per_cost, FAST_ENOUGH)
        if per_cost > FASTER * baseline and per_cost > MUCH_FASTER * self._ceiling_per_cost:
            wanted = min(wanted, self._ceiling - 1)
        if wanted > self._at:
            self._go_to(wanted)

    def _go_to(self, rung: int) -> None:
        if rung != self._at:
            self._at = rung
            self._recent.clear()

    def _highest(self, per_cost: float, part: float) -> int:
        """The dearest rung whose estimate stays within ``part`` of a period; the cheapest if none does."""
        fitting = [rung for rung, quality in enumerate(self._rungs) if per_cost * quality.cost <= part * self._period]
        return max(fitting, default=0)
