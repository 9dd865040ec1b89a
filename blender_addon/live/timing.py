"""How long the parts of live mode take, for the panel, the tests and the benchmarks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Timings"]

KEPT = 512


def _latest() -> deque[float]:
    return deque(maxlen=KEPT)


@dataclass(slots=True)
class Timings:
    """Seconds, the latest of each. captures: of Blender's main thread, until the job is submitted. turns: of the main
    thread, captures aside. trips: from the submission to the picture on the main thread. frames: moments of pictures.
    """

    captures: deque[float] = field(default_factory=_latest)
    turns: deque[float] = field(default_factory=_latest)
    trips: deque[float] = field(default_factory=_latest)
    draws: deque[float] = field(default_factory=_latest)
    frames: deque[float] = field(default_factory=_latest)

    def rate(self, now: float, within: float = 3.0) -> float:
        """Pictures per second of late; 0 without any."""
        recent = [moment for moment in self.frames if now - moment < within]
        return len(recent) / within
