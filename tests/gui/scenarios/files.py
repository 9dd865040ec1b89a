"""New, Open and quit while live mode is on and a picture is being made."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    stage.example()
    yield from stage.open_tab()
    yield from stage.connect()
    saved = str(stage.folder / "saved.blend")
    live = stage.live()
    yield from busy(stage, saved)
    stage.screenshot("1_busy")

    stage.move(stage.in_view(0.4, 0.4))
    scene_uid = bpy.context.scene.session_uid
    yield from stage.key("ctrl+n")
    yield stage.ticks(5)
    stage.screenshot("2_new_menu")
    yield from stage.key("g")  # General
    yield stage.until(lambda: bpy.context.scene.session_uid != scene_uid, "the new file", 20.0)
    yield stage.ticks(10)
    stage.facts["on_after_new"] = live.on()
    stage.facts["left_after_new"] = [name for name in stage.handlers() if ".live." in name]
    stage.facts["session_after_new"] = stage.part("state").session().state.value
    stage.screenshot("3_new")
    bpy.ops.scumble.cancel()
    yield stage.until(lambda: not stage.part("state").session().jobs.live(), "an end of the jobs", 240.0)

    bpy.ops.wm.open_mainfile(filepath=saved)
    yield stage.ticks(10)
    stage.facts["prompt_after_open"] = bpy.context.scene.scumble.prompt
    yield from stage.open_tab()
    yield from busy(stage, saved)
    bpy.ops.wm.open_mainfile(filepath=saved)
    yield stage.ticks(10)
    stage.facts["on_after_open"] = live.on()
    stage.facts["left_after_open"] = [name for name in stage.handlers() if ".live." in name]
    stage.screenshot("4_opened")

    yield from busy(stage, saved)
    stage.move(stage.in_view(0.4, 0.4))
    director.report(stage)
    yield from stage.key("ctrl+q")
    yield stage.until(lambda: False, "the end of Blender", 30.0)


def busy(stage: director.Stage, path: str) -> Generator:
    """Live mode on, and a long picture at work; the file is saved, so that nothing asks about it."""
    stage.quick_settings()
    settings = bpy.context.scene.scumble
    with stage.override():
        bpy.ops.scumble.live()
    yield stage.live().settled("a first live picture")
    settings.num_inference_steps = 500
    with stage.override():
        bpy.ops.scumble.generate()
        bpy.ops.view3d.view_orbit(angle=0.3, type="ORBITRIGHT")
    jobs = stage.part("state").session().jobs
    yield stage.until(lambda: any(record.step > 1 for record in jobs.live()), "a job at work", 240.0)
    with stage.override():
        bpy.ops.wm.save_as_mainfile(filepath=path)


director.play(scenario)
