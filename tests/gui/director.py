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
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d

MODULE = "bl_ext.user_default.scumble"
TICK = 0.05
PATIENCE = 120.0
"""Seconds a condition may take before the scenario fails, naming it."""

LEFT, MIDDLE = "1", "2"
ROW = 20.0
"""Height of a widget at a scale of 1, pixels."""

PROMPT, GENERATE, CANCEL, LIVE = 3.45, 8.65, 10.2, 11.6
"""From the top of the sidebar to the middle of what can be clicked in our tab, in heights of a widget. CANCEL is there
while a job runs, and pushes LIVE down."""

Point = tuple[float, float]
Box = tuple[int, int, int, int]


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

    def lasting(self, seconds: float) -> tuple:
        """For what should not happen meanwhile."""
        end = time.monotonic() + seconds
        return self.until(lambda: time.monotonic() > end, f"{seconds} s")

    def ask(self, what: str) -> tuple:
        """Has the test outside do something, and waits until it is done."""
        name = f"{next(self._asked)}-{what}"
        (self.folder / f"{name}.ask").touch()
        return self.until((self.folder / f"{name}.done").exists, what)

    # --- what is to be seen -------------------------------------------------------------------------

    def screenshot(self, name: str) -> None:
        """The whole screen, as the X server shows it. (Blender's own operator gives black under OpenGL.)"""
        subprocess.run(["import", "-window", "root", str(self.folder / f"{name}.png")], check=True, timeout=60)

    def note_picture(self, name: str, camera: object, pixels: object) -> None:
        """A screenshot, with the picture that should be in it, and where; for :mod:`pictures`.

        pixels: float H x W x 4, bottom row first, as the overlay takes them.
        """
        overlay = self.part("apply.overlay")
        window, area = self.view3d()
        region = next(region for region in area.regions if region.type == "WINDOW")
        view = np.array(area.spaces.active.region_3d.perspective_matrix)
        left, bottom, right, top = overlay.place(camera, view, region.width, region.height)
        height = window.height - region.y
        self.facts[name] = {
            "place": [region.x + left, height - top, region.x + right, height - bottom],
            "uncovered": self.viewport_on_screen(),
        }
        np.save(self.folder / f"{name}.npy", (np.asarray(pixels)[::-1, :, :3] * 255.0).astype(np.uint8))
        self.screenshot(name)

    def viewport_on_screen(self) -> Box:
        """Left, top, right, bottom of the part of the viewport that no other region covers, in pixels of the screen."""
        window, area = self.view3d()
        boxes = {region.type: region for region in area.regions if region.height > 1 and region.width > 1}
        whole = boxes["WINDOW"]
        left = boxes["TOOLS"].x + boxes["TOOLS"].width if "TOOLS" in boxes else whole.x
        right = boxes["UI"].x if "UI" in boxes else whole.x + whole.width
        top = min(boxes[kind].y for kind in ("HEADER", "TOOL_HEADER") if kind in boxes)
        shelf = [region.y + region.height for kind, region in boxes.items() if "ASSET_SHELF" in kind]
        return left, window.height - top, right, window.height - max([whole.y, *shelf])

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

    def example(self) -> None:
        """The example scene in the window, seen from the front, at settings that are quick."""
        window, area = self.view3d()
        window.scene = self.part("example_scene").build()
        view = area.spaces.active.region_3d
        view.view_location, view.view_distance = (0.0, 0.0, 1.4), 12.0
        self.quick_settings()

    def quick_settings(self) -> None:
        settings = self.view3d()[0].scene.scumble
        settings.prompt, settings.seed, settings.source = "mossy stone", 7, "VIEWPORT"
        settings.width = settings.height = 256
        settings.num_inference_steps = 4
        settings.live.only_objects = False

    def live(self) -> Live:
        return Live(self, self.part("live.control"))

    def handlers(self) -> set[str]:
        """Of ours, among Blender's; those that belong to Blender's exit aside."""
        return {
            f"{name}: {function.__module__}"
            for name in dir(bpy.app.handlers)
            if name != "exit_pre" and isinstance(functions := getattr(bpy.app.handlers, name), list)
            for function in functions
            if MODULE in getattr(function, "__module__", "")
        }

    def open_tab(self) -> Generator:
        """The sidebar of the viewport, with our tab on top."""
        _, area = self.view3d()
        area.spaces.active.show_region_ui = True
        sidebar = self.sidebar()
        yield self.until(lambda: sidebar.width > 1 and sidebar.active_panel_category != "UNSUPPORTED", "the sidebar")
        sidebar.active_panel_category = "Scumble"
        area.tag_redraw()
        yield self.ticks(5)

    def find_tab(self) -> Generator:
        """The same as :meth:`open_tab`, as a person does it: N over the viewport, then a click on the tab."""
        self.move(self.in_view(0.5, 0.5))
        yield self.ticks(3)
        yield from self.key("n")
        yield self.until(lambda: self.sidebar().width > 1, "the sidebar")
        yield self.ticks(3)
        row = self.row()
        _, top, right, bottom = self.on_screen(self.sidebar())
        below = top + row
        while not self._tab_is_open() and below < bottom:  # a click on the open tab folds it up, one on another opens
            yield from self.click((right - 0.6 * row, below))
            below += row
        yield self.until(self._tab_is_open, "our tab", 5.0)
        yield self.ticks(5)

    def _tab_is_open(self) -> bool:
        sidebar = self.sidebar()
        return sidebar.active_panel_category == "Scumble" and sidebar.width > 5.0 * self.row()

    def sidebar(self) -> bpy.types.Region:
        return next(region for region in self.view3d()[1].regions if region.type == "UI")

    def row(self) -> float:
        """Height of a widget, pixels."""
        return ROW * bpy.context.preferences.system.ui_scale

    def on_screen(self, region: bpy.types.Region) -> Box:
        """Left, top, right, bottom, in pixels of the screen."""
        height = self.view3d()[0].height
        return region.x, height - region.y - region.height, region.x + region.width, height - region.y

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

    def seen_at(self, point: Sequence[float]) -> Point:
        """Where a point of the world is in the viewport, in pixels of the screen."""
        window, area = self.view3d()
        region = next(region for region in area.regions if region.type == "WINDOW")
        x, y = location_3d_to_region_2d(region, area.spaces.active.region_3d, point)
        return region.x + x, window.height - region.y - y

    def move(self, place: Point) -> None:
        self.xdotool("mousemove", str(round(place[0])), str(round(place[1])))

    def click(self, place: Point) -> Generator:
        self.move(place)
        yield self.ticks(3)
        self.xdotool("click", LEFT)
        yield self.ticks(3)

    def drag(self, button: str, places: Sequence[Point]) -> Generator:
        self.move(places[0])
        yield self.ticks(3)
        self.xdotool("mousedown", button)
        for place in places[1:]:
            self.move(place)
            yield self.ticks(1)
        self.xdotool("mouseup", button)
        yield self.ticks(3)

    def key(self, keys: str) -> Generator:
        """keys: as xdotool names them, such as "ctrl+z"; whatever is under the mouse gets them."""
        self.xdotool("key", keys)
        yield self.ticks(3)

    def press(self, rows: float, across: float = 0.4) -> Generator:
        """Clicks in our tab. rows: below its top, heights of a widget. across: from its left, part of its width."""
        left, top, right, _ = self.on_screen(self.sidebar())
        yield from self.click((left + across * (right - left), top + rows * self.row()))

    def type_prompt(self, text: str) -> Generator:
        """Into the field in our tab."""
        yield from self.press(PROMPT)
        yield from self.key("ctrl+a")
        self.xdotool("type", "--delay", "20", text)
        yield self.ticks(3)
        yield from self.key("Return")
        yield self.until(lambda: bpy.context.scene.scumble.prompt == text, "the typed prompt", 10.0)


class Live:
    """What a scenario waits for in live mode."""

    def __init__(self, stage: Stage, control: ModuleType) -> None:
        self._stage = stage
        self._control = control

    def on(self) -> bool:
        return self._control.is_on()

    def painter(self) -> Any:
        return self._control.painter()

    def is_settled(self) -> bool:
        painter = self.painter()
        return painter.idle and painter.pictures > 0 and not painter.paused

    def settled(self, what: str) -> tuple:
        """Until what is to be seen now is painted, and refined."""
        return self._stage.until(self.is_settled, what, 240.0)

    def timings(self) -> dict[str, float]:
        """95th percentiles, milliseconds."""
        timings = self.painter().timings
        return {name: _p95(getattr(timings, name)) for name in ("turns", "captures", "draws")}


def _p95(seconds: Iterable[float]) -> float:
    ordered = sorted(seconds)
    return round(ordered[int(0.95 * (len(ordered) - 1))] * 1e3, 2) if ordered else -1.0


def play(scenario: Callable[[Stage], Generator], *, smooth: bool = False) -> None:
    """Starts the scenario once Blender's windows are up; the process ends with it, status 0 if it got through.

    smooth: for screenshots that people see. A viewport at rest is drawn eight times for it, by a processor here.
    """
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    stage = Stage(Path(arguments[0]))
    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.system.viewport_aa = "8" if smooth else "OFF"
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
