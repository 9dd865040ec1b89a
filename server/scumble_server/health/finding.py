"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level"]


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is wrong
    WARNING = "warning"  # works, but slowly, or not for everything
    PROBLEM = "problem"  # nothing can be generated until it is mended


@dataclass(frozen=True, slots=True)
class Finding:
    """topic: short, such as "device". text: what was found. remedy: what to do, "" where nothing needs doing."""

    topic: str
    level: Level
    text: str
    remedy: str = ""
