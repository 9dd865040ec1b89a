"""Drives Blender from inside, as a person would: a scenario is a generator that yields what it waits for.

Runs in Blender's Python. A scenario file defines ``scenario(stage)`` and ends with ``director.play(scenario)``.
Each ``yield stage.until(condition, "what")`` lets Blender's own event loop run until the condition holds. Mouse and
keyboard are the X server's; what takes several events is a generator, too: ``yield from stage.drag(...)``.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import ModuleType

import bpy

MODULE = "bl_ext.user_default.scumble"
TICK = 0.05
PATIENCE = 120.0
"""Seconds a condition may take before the scenario fails, naming it."""

LEFT, MIDDLE = "1", "2"
PROMPT_ROWS = 3.4
"""From the top of the sidebar to the middle of the prompt's field, in heights of a widget."""

Point = tuple[float, float]


class Stage:
    """What a scenario can do beyond bpy: wait, report facts, take pictures, press keys and buttons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, object] = {}
        self._asked = itertools.count(1)

    # --- waiting ------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> tuple:
        return condition, what, time.monotonic() + patience

    def ticks(self, count: int) -> tuple:
        """Lets Blender draw ``count`` more times: for what has no condition to ask."""
        left = iter(range(count))
        return self.until(lambda: next(left, None) is None, f"{count} ticks")

    def ask(self, what: str) -> tuple:
        """Has the test outside do something, and waits until it is done."""
        name = f"{next(self._asked)}-{what}"
        (self.folder / f"{name}.ask").touch()
        return self.until((self.folder / f"{name}.done").exists, what)

    # --- what is to be seen -------------------------------------------------------------------------

    def screenshot(self, name: str) -> None:
        """The whole screen, as the X server shows it. (Blender's own operator gives black under OpenGL.)"""
        subprocess.run(["import", "-window", "root", str(self.folder / f"{name}.png")], check=True, timeout=60)

    def viewport_on_screen(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the part of the viewport that no other region covers, in pixels of the screen."""
        window, area = self.view3d()
        boxes = {region.type: region for region in area.regions if region.height > 1 and region.width > 1}
        whole = boxes["WINDOW"]
        left = boxes["TOOLS"].x + boxes["TOOLS"].width if "TOOLS" in boxes else whole.x
        right = boxes["UI"].x if "UI" in boxes else whole.x + whole.width
        top = min(region.y for kind, region in boxes.items() if "HEADER" in kind)
        return left, window.height - top, right, window.height - whole.y

    # --- Blender ------------------------------------------------------------------------------------

    def install(self) -> Generator:
        """The extension from its file, enabled, without the splash, connecting to the server that runs."""
        bpy.ops.extensions.package_install_files(
            filepath=str(self.folder / "scumble.zip"), repo="user_default", enable_on_install=True, overwrite=True
        )
        self.part("preferences").preferences().connection = "RUNNING"
        yield self.ticks(2)

    def part(self, name: str) -> ModuleType:
        """A module of the installed extension."""
        return importlib.import_module(f"{MODULE}.{name}")

    def connect(self) -> Generator:
        bpy.ops.scumble.connect()
        yield self.until(lambda: self.part("state").session().state == "ready", "the server")

    def open_tab(self) -> Generator:
        """The sidebar of the viewport, with our tab on top."""
        _, area = self.view3d()
        area.spaces.active.show_region_ui = True
        sidebar = next(region for region in area.regions if region.type == "UI")
        yield self.until(lambda: sidebar.width > 1 and sidebar.active_panel_category != "UNSUPPORTED", "the sidebar")
        sidebar.active_panel_category = "Scumble"
        area.tag_redraw()
        yield self.ticks(5)

    def view3d(self) -> tuple[bpy.types.Window, bpy.types.Area]:
        window = bpy.context.window_manager.windows[0]
        return window, next(area for area in window.screen.areas if area.type == "VIEW_3D")

    def override(self) -> object:
        window, area = self.view3d()
        region = next(region for region in area.regions if region.type == "WINDOW")
        return bpy.context.temp_override(window=window, area=area, region=region)

    # --- mouse and keyboard -------------------------------------------------------------------------

    def xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], check=True, timeout=60)

    def in_view(self, x: float, y: float) -> Point:
        """A place in the uncovered part of the viewport, from 0, 0 at its upper left to 1, 1, in pixels."""
        left, top, right, bottom = self.viewport_on_screen()
        return left + x * (right - left), top + y * (bottom - top)

    def move(self, place: Point) -> None:
        self.xdotool("mousemove", str(round(place[0])), str(round(place[1])))

    def click(self, place: Point) -> Generator:
        self.move(place)
        yield self.ticks(3)
        self.xdotool("click", LEFT)
        yield self.ticks(3)

    def drag(self, button: str, places: Sequence[Point], meanwhile: Callable[[], None] = lambda: None) -> Generator:
        """meanwhile: called after each move, while the button is down."""
        self.move(places[0])
        yield self.ticks(3)
        self.xdotool("mousedown", button)
        for place in places[1:]:
            self.move(place)
            yield self.ticks(1)
            meanwhile()
        self.xdotool("mouseup", button)
        yield self.ticks(3)

    def key(self, keys: str) -> Generator:
        """keys: as xdotool names them, such as "ctrl+z"; whatever is under the mouse gets them."""
        self.xdotool("key", keys)
        yield self.ticks(3)

    def type_prompt(self, text: str) -> Generator:
        """Into the field in the sidebar."""
        window, area = self.view3d()
        sidebar = next(region for region in area.regions if region.type == "UI")
        row = 20.0 * bpy.context.preferences.system.ui_scale
        top = window.height - (sidebar.y + sidebar.height)
        yield from self.click((sidebar.x + 0.4 * sidebar.width, top + PROMPT_ROWS * row))
        yield from self.key("ctrl+a")
        self.xdotool("type", "--delay", "20", text)
        yield self.ticks(3)
        yield from self.key("Return")
        yield self.until(lambda: window.scene.scumble.prompt == text, "the typed prompt", 10.0)


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


def report(stage: Stage, problem: str | None = None) -> None:
    """For the test outside. A scenario that ends Blender as an artist does calls this before."""
    told = {"facts": stage.facts, "problem": problem}
    (stage.folder / "report.json").write_text(json.dumps(told, indent=1, default=str), encoding="utf-8")


def _end(stage: Stage, problem: str | None) -> None:
    if problem is not None:
        stage.screenshot("failed")
    report(stage, problem)
    sys.stdout.flush()
    os._exit(0 if problem is None else 1)
