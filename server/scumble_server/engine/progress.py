"""Work that is part of a larger whole, telling how far the whole is."""

from __future__ import annotations

from dataclasses import dataclass

from scumble_shared.tensor import AnyArray

from ..service import JobHooks

__all__ = ["Share", "shares"]


@dataclass(frozen=True, slots=True)
class Share:
    """Hooks of work that takes the whole from fraction ``first`` to ``last``. stages: other names for its own."""

    hooks: JobHooks
    first: float
    last: float
    stages: tuple[tuple[str, str], ...] = ()

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        told = None if fraction is None else self.first + (self.last - self.first) * fraction
        self.hooks.progress(dict(self.stages).get(stage, stage), step, steps, told)

    def wants_preview(self) -> bool:
        return self.hooks.wants_preview()

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        self.hooks.preview(image, step, steps)

    def check_cancelled(self) -> None:
        self.hooks.check_cancelled()


def shares(hooks: JobHooks, first: float, last: float, costs: list[float]) -> list[Share]:
    """One for each piece of work, as long as what it costs."""
    total, spent, found = sum(costs) or 1.0, 0.0, []
    for cost in costs:
        begin = first + (last - first) * spent / total
        spent += cost
        found.append(Share(hooks, begin, first + (last - first) * spent / total))
    return found
