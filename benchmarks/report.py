"""How every benchmark tells its numbers: a table for people, a JSON file for machines.

Used by the others like this::

    report = Report("server_overhead")
    report.add("request to last byte, beyond the engine", 4.2, "ms", goal=8.0)
    raise SystemExit(report.finish())
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Measurement", "Report", "machine", "parser", "quantile"]

OUTPUT = Path("benchmark_output")


@dataclass(frozen=True, slots=True)
class Measurement:
    """goal: what the number shouldn't exceed, None where there is no goal. note: how it was measured."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "ok" if self.value <= self.goal else "over"


@dataclass(slots=True)
class Report:
    """name: of the JSON file. Measurements in the order they are added."""

    name: str
    output: Path = OUTPUT
    measurements: list[Measurement] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, *, goal: float | None = None, note: str = "") -> None:
        self.measurements.append(Measurement(name, value, unit, goal, note))

    def add_times(self, name: str, seconds: Sequence[float], *, goal_ms: float | None = None, note: str = "") -> None:
        """Median in ms, judged; beside it the fastest, which tells most on a busy machine, and the 95th percentile."""
        ms = [second * 1e3 for second in seconds]
        words = f"median of {len(ms)}, fastest {_digits(min(ms))} ms"
        if len(ms) >= 20:
            words += f", 95 % within {_digits(quantile(ms, 0.95))} ms"
        self.add(name, statistics.median(ms), "ms", goal=goal_ms, note=f"{words}; {note}" if note else words)

    def table(self) -> str:
        head = ("what", "value", "goal", "", "how")
        rows = []
        for m in self.measurements:
            goal = "" if m.goal is None else f"<= {m.goal:g} {m.unit}"
            rows.append((m.name, f"{_digits(m.value)} {m.unit}", goal, m.verdict, m.note))
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
        return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])

    def finish(self) -> int:
        """Print the table, write ``<output>/<name>.json``; 1 if a goal was missed, else 0."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / f"{self.name}.json"
        content = {
            "benchmark": self.name,
            "machine": machine(),
            "measurements": [{**asdict(m), "verdict": m.verdict} for m in self.measurements],
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"{self.name}\n{self.table()}\n-> {path}")
        return int(any(m.verdict == "over" for m in self.measurements))


def _digits(value: float) -> str:
    """Four significant ones, and no exponent for what people still read as a number."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def quantile(values: Sequence[float], fraction: float) -> float:
    """Nearest rank."""
    return sorted(values)[max(0, min(len(values) - 1, round(fraction * len(values)) - 1))]


def machine() -> dict[str, object]:
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": sys.version.split()[0],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def parser(description: str, *, repeat: int) -> argparse.ArgumentParser:
    """With the options all benchmarks share."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--repeat", type=int, default=repeat, help=f"measurements to take (default {repeat})")
    arguments.add_argument("--output", type=Path, default=OUTPUT, help="folder of the JSON file")
    return arguments
