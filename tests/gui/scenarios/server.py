"""The server is killed while live mode is on and a picture is made, and comes back."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    session = stage.part("state").session
    stage.example()
    yield from stage.open_tab()
    yield from stage.connect()
    stage.quick_settings()
    live = stage.live()
    with stage.override():
        bpy.ops.scumble.live()
    yield live.settled("the first picture")
    painter = live.painter()

    yield stage.ask("kill")
    with stage.override():
        bpy.ops.view3d.view_orbit(angle=0.3, type="ORBITRIGHT")
    yield stage.until(lambda: bool(painter.paused), "the pause without a server", 30.0)
    stage.facts["paused"], stage.facts["on_without"] = painter.paused, live.on()
    stage.facts["state_without"] = session().state.value
    yield stage.ticks(10)
    stage.screenshot("1_without")

    pictures = painter.pictures
    yield stage.ask("start")
    yield stage.until(lambda: not painter.paused, "the server again", 60.0)
    yield stage.until(lambda: painter.pictures > pictures and live.is_settled(), "a picture of the new server", 240.0)
    stage.facts["state_after"] = session().state.value
    yield stage.ticks(10)
    stage.note_picture("2_again", painter.latest.job.view.camera, painter.latest.prepared.shown)

    bpy.ops.scumble.live()
    bpy.context.scene.scumble.num_inference_steps = 100
    with stage.override():
        bpy.ops.scumble.generate()
    job_id = session().jobs.all()[-1].id
    yield stage.until(lambda: session().jobs.get(job_id).step > 1, "a picture at work", 240.0)
    bpy.context.scene.scumble.num_inference_steps = 2
    yield stage.ask("kill")
    yield stage.until(lambda: session().state.value != "ready", "the loss", 30.0)
    yield stage.ticks(10)
    stage.screenshot("3_lost_at_work")
    yield stage.ask("start")
    yield stage.until(lambda: session().jobs.get(job_id).state.ended, "an end of that picture", 240.0)
    stage.facts["picture_after"] = session().jobs.get(job_id).state.value
    with stage.override():
        bpy.ops.scumble.generate()
    job_id = session().jobs.all()[-1].id
    yield stage.until(lambda: session().jobs.get(job_id).state.ended, "the next picture", 240.0)
    stage.facts["next_picture"] = session().jobs.get(job_id).state.value
    yield stage.ticks(10)
    stage.screenshot("4_next")


director.play(scenario)
