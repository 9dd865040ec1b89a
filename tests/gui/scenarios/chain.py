"""How long a turn of the view takes to become a picture in the window; for ``benchmarks/live_window.py``."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director
from mathutils import Quaternion

TURNS = int(os.environ.get("SCUMBLE_TURNS", "100"))
SIZE = 512
STEPS = 4
RATE = 4.0


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    control = stage.part("live.control")
    stage.part("live.adapt").SMALLEST = SIZE  # drafts are of full size, however busy the machine
    window, area = stage.view3d()
    window.scene = stage.part("example_scene").build()
    space = area.spaces.active
    space.overlay.show_overlays = False
    space.region_3d.view_location, space.region_3d.view_distance = (0.0, 0.0, 1.4), 12.0
    settings = window.scene.scumble
    settings.prompt, settings.width, settings.height = "old stone", SIZE, SIZE
    settings.live.rate, settings.live.refine = RATE, False
    yield from stage.connect()
    settings.num_inference_steps = STEPS
    with stage.override():
        bpy.ops.scumble.live()
    painter = control.painter()

    def turn() -> None:
        view = space.region_3d
        view.view_rotation = Quaternion((0.0, 0.0, 1.0), math.radians(2.0)) @ view.view_rotation

    def may_go_on() -> bool:
        return painter.idle and time.perf_counter() > began[-1] + 1.2 / RATE

    began, drawn, redrawn = [0.0], [], []

    def note() -> None:
        """After each drawing of the viewport."""
        if bpy.context.area != area or len(began) == 1:
            return
        if len(redrawn) < len(began) - 1:
            redrawn.append(time.perf_counter())
        if len(drawn) < len(began) - 1 and painter.pictures > pictures:
            drawn.append(time.perf_counter())

    yield stage.until(lambda: painter.idle and painter.pictures > 0, "a first picture", 300.0)
    pictures = painter.pictures
    handle = bpy.types.SpaceView3D.draw_handler_add(note, (), "WINDOW", "POST_PIXEL")
    turns, cpu = len(painter.timings.turns), time.process_time()
    for _ in range(TURNS):
        yield stage.until(may_go_on, "the time of the next draft")
        pictures = painter.pictures
        turn()
        area.tag_redraw()
        began.append(time.perf_counter())
        yield stage.until(lambda: len(drawn) == len(began) - 1, "the picture")
    bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    timings = painter.timings
    rounds = list(zip(began[1:], redrawn, drawn, strict=True))
    stage.facts["blender"] = bpy.app.version_string
    stage.facts["size"] = painter.latest.job.width
    stage.facts["cpu"] = (time.process_time() - cpu) / TURNS
    stage.facts["seconds"] = {
        "Blender's own redraw of the turned view": [noticed - begin for begin, noticed, _ in rounds],
        "capture, until the job is submitted": list(timings.captures)[-TURNS:],
        "submission to picture on the main thread": list(timings.trips)[-TURNS:],
        "from the redraw to the picture drawn": [end - noticed for _, noticed, end in rounds],
        "main thread per turn, captures aside": list(timings.turns)[-max(1, len(timings.turns) - turns) :],
    }


director.play(scenario)
