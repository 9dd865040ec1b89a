"""Generate and cancel by clicks in the tab; the picture lies over its view; kept, and taken back by Ctrl Z."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    session, overlay = stage.part("state").session, stage.part("apply.overlay")
    stage.example()
    yield from stage.find_tab()
    yield from stage.connect()
    yield from stage.type_prompt("mossy stone")
    settings = bpy.context.scene.scumble
    settings.width = settings.height = 256
    settings.num_inference_steps = 100
    yield stage.ticks(5)

    yield from stage.press(director.GENERATE)
    yield stage.until(lambda: bool(session().jobs.live()), "a job, after the click on Generate", 10.0)
    job_id = session().jobs.all()[-1].id
    yield stage.until(lambda: session().jobs.get(job_id).step >= 2, "its second step", 240.0)
    stage.screenshot("1_at_work")
    yield from stage.press(director.CANCEL, across=0.83)
    yield stage.until(lambda: not session().jobs.live(), "its end, after the click on Cancel", 10.0)
    stage.facts["cancelled"] = session().jobs.get(job_id).state.value
    stage.facts["step_of_cancelled"] = session().jobs.get(job_id).step

    settings.num_inference_steps = 4
    yield from stage.press(director.GENERATE)
    yield stage.until(lambda: session().jobs.all()[-1].id != job_id, "a second job", 10.0)
    yield stage.until(lambda: not session().jobs.live(), "its end", 240.0)
    record = session().jobs.all()[-1]
    stage.facts["generated"] = record.state.value
    yield stage.until(overlay.is_shown, "the overlay", 10.0)
    yield stage.ticks(10)
    pixels = next(iter(record.prepared.values())).pixels
    stage.note_picture("2_picture", record.job.view.camera, stage.part("prepare").float_pixels(pixels))

    blocks = len(bpy.data.images)
    with stage.override():
        bpy.ops.scumble.keep_image("EXEC_DEFAULT", True)  # with a step of undo, as a click has
    stage.facts["images_more"] = len(bpy.data.images) - blocks
    stage.move(stage.in_view(0.3, 0.3))
    yield from stage.key("ctrl+z")
    yield stage.until(lambda: len(bpy.data.images) == blocks, "the undone image", 10.0)
    stage.screenshot("3_undone")


director.play(scenario)
