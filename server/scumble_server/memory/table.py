"""The table of docs/memory.md, from the planner itself: ``python -m scumble_server.memory.table`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from .machine import CUDA, GIB, TIERS, Machine
from .plan import Plan, Work, estimate, plan_for
from .sizes import CONTROLNETS, PUBLISHED

__all__ = ["memory_table"]

RAM = 32 * GIB

ROWS = (
    ("SD 1.5, 512 x 512", "sd15", Work(512, 512)),
    ("SD 1.5, 512 x 512, two ControlNets", "sd15", Work(512, 512, controlnets=(CONTROLNETS["sd15"],) * 2)),
    ("SD 1.5, 1024 x 1024", "sd15", Work(1024, 1024)),
    ("SDXL, 1024 x 1024", "sdxl", Work(1024, 1024)),
    ("SDXL, 1024 x 1024, a ControlNet", "sdxl", Work(1024, 1024, controlnets=(CONTROLNETS["sdxl"],))),
    ("SD 3 medium, 1024 x 1024", "sd3", Work(1024, 1024)),
    ("SD 3.5 large, 1024 x 1024", "sd35-large", Work(1024, 1024)),
    ("FLUX.1, 1024 x 1024", "flux", Work(1024, 1024, guided=False)),
)


def memory_table() -> str:
    """Markdown: the most of the device that one picture takes at any moment, GiB, and what is done for it."""
    tiers = TIERS[::-1]
    lines = [f"| | {' | '.join(tier.name for tier in tiers)} |", f"| --- |{' --: |' * len(tiers)}"]
    for title, family, work in ROWS:
        cells = [" | ".join(_cells(family, work, tier.size)) for tier in tiers]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(family: str, work: Work, size: int) -> Iterator[str]:
    machine = Machine(CUDA, size, size, RAM, RAM)
    plan = plan_for(PUBLISHED[family], work, machine)
    peak = estimate(PUBLISHED[family], work, machine, plan).peak
    yield f"{peak.device / GIB:.1f}{_marks(plan)}" if peak.device <= machine.room.device else "–"


def _marks(plan: Plan) -> str:
    marks = [
        {"staged": "P", "grouped": "L"}.get(plan.placement, ""),
        "8" if plan.storage != "plain" else "",
        "T" if plan.tiled else "",
    ]
    return (" " + "".join(marks)).rstrip()


if __name__ == "__main__":
    print(memory_table(), end="")
