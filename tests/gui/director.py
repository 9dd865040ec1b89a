"""Drives Blender from inside, as a person would: a scenario is a generator that yields what it waits for.

Runs in Blender's Python. A scenario file defines ``scenario(stage)`` and ends with ``director.play(scenario)``.
Each ``yield stage.until(condition, "what")`` lets Blender's own event loop run until the condition holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

TICK = 0.05
PATIENCE = 60.0
"""Seconds a condition may take before the scenario fails, naming it."""


class Stage:
    """What a scenario can do beyond bpy: wait, report facts, take pictures, press keys and buttons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, object] = {}

    def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> tuple:
        return condition, what, time.monotonic() + patience

    def ticks(self, count: int) -> tuple:
        """Lets Blender draw ``count`` more times: for what has no condition to ask."""
        left = iter(range(count))
        return self.until(lambda: next(left, None) is None, f"{count} ticks")

    def screenshot(self, name: str) -> None:
        """The whole screen, as the X server shows it. (Blender's own operator gives black under OpenGL.)"""
        subprocess.run(["import", "-window", "root", str(self.folder / f"{name}.png")], check=True, timeout=30)

    def xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], check=True, timeout=30)

    def view3d(self) -> tuple[bpy.types.Window, bpy.types.Area]:
        window = bpy.context.window_manager.windows[0]
        return window, next(area for area in window.screen.areas if area.type == "VIEW_3D")

    def override(self) -> object:
        window, area = self.view3d()
        region = next(region for region in area.regions if region.type == "WINDOW")
        return bpy.context.temp_override(window=window, area=area, region=region)


def play(scenario: Callable[[Stage], Generator]) -> None:
    """Starts the scenario once Blender's windows are up; the process ends with it, status 0 if it got through."""
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    stage = Stage(Path(arguments[0]))
    bpy.context.preferences.view.show_splash = False
    steps = scenario(stage)
    waiting: list[tuple] = [stage.ticks(10)]

    def tick() -> float | None:
        try:
            condition, what, deadline = waiting[0]
            if condition():
                waiting[0] = next(steps)
            elif time.monotonic() > deadline:
                steps.throw(TimeoutError(f"waited in vain for: {what}"))
        except StopIteration:
            _end(stage, None)
        except BaseException:  # noqa: BLE001 - whatever it is, the test process must hear of it
            _end(stage, traceback.format_exc())
        return TICK

    bpy.app.timers.register(tick, first_interval=0.5, persistent=True)


def _end(stage: Stage, problem: str | None) -> None:
    report = {"facts": stage.facts, "problem": problem}
    (stage.folder / "report.json").write_text(json.dumps(report, indent=1, default=str), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0 if problem is None else 1)
