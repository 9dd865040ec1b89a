"""How a job is done in the memory there is: a value, settled before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from ...memory.machine import GIB, Bytes
from ...memory.plan import Estimate, Plan, Work, words
from ...memory.sizes import Sizes

__all__ = ["Fit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a job is done, and what that takes. model, nets, adapters: of the weights of each. encoder: of the largest
    image encoder."""

    plan: Plan
    estimate: Estimate
    sizes: Sizes
    work: Work
    model: Bytes
    nets: tuple[Bytes, ...]
    adapters: tuple[Bytes, ...] = ()
    encoder: Bytes = Bytes()  # noqa: RUF009

    @property
    def working(self) -> Bytes:
        """What the job takes beside weights that stay."""
        peak, weights = self.estimate.peak, self.estimate.weights
        return Bytes(max(0, peak.device - weights.device), max(0, peak.ram - weights.ram))

    def facts(self) -> dict[str, object]:
        """For the provenance."""
        peak = self.estimate.peak
        return {
            "done": words(self.plan),
            "expected_gib": round(peak.device / GIB, 2),
            "expected_ram_gib": round(peak.ram / GIB, 2),
        }
