"""What is left out of a step at each quality, and what of an earlier step stands in for it: one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scumble_shared.job import QUALITIES

__all__ = ["EVERYTHING", "SAVINGS", "Saving", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does anew. guided: runs without the prompt, too. controls: runs the ControlNets. deep: runs all
    levels of the network, and not the outermost alone."""

    guided: bool = True
    controls: bool = True
    deep: bool = True


EVERYTHING = Work()


@dataclass(frozen=True, slots=True)
class Saving:
    """controls_every, deep_every: ControlNets and deeper levels run in one of so many steps; in between, what they gave
    last is used again. guided_until: part of the steps after which the difference that guidance made last is kept.
    lead: part of the steps, from the first, in which nothing is saved: what is where is decided there."""

    controls_every: int = 1
    deep_every: int = 1
    guided_until: float = 1.0
    lead: float = 0.0

    def work(self, index: int, count: int) -> Work:
        """Of step 0 ... count - 1; the first does everything."""
        since = index - max(1, round(self.lead * count)) + 1
        if since <= 0:
            return EVERYTHING
        deep = since % self.deep_every == 0
        return Work(
            guided=index < self.guided_until * count,
            controls=deep and since % self.controls_every == 0,
            deep=deep,
        )


SAVINGS: Mapping[str, Saving] = {
    "exact": Saving(),
    "balanced": Saving(controls_every=2, guided_until=0.6, lead=0.25),
    "draft": Saving(controls_every=2, deep_every=2, guided_until=0.4, lead=0.25),
}
assert tuple(SAVINGS) == QUALITIES
