"""Live mode as an artist sees it: on, orbit by mouse, the picture stuck to things, wipe, move, undo, keep, off."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    stage.example()
    yield from stage.find_tab()
    yield from stage.connect()
    yield from stage.type_prompt("mossy stone ruin")
    live = stage.live()
    blocks = {name: len(getattr(bpy.data, name)) for name in ("images", "materials", "textures", "objects")}
    yield from stage.press(director.LIVE)
    yield stage.until(live.on, "live mode, after the click", 10.0)
    yield live.settled("the first pictures")
    yield stage.ticks(10)
    painter = live.painter()
    stage.note_picture("1_still", painter.latest.job.view.camera, painter.latest.prepared.shown)
    stage.facts["status"] = painter.status()

    before = painter.submitted
    yield stage.lasting(2.0)
    stage.facts["jobs_while_still"] = painter.submitted - before
    stage.facts["rests_while_still"] = painter.resting

    places = [stage.in_view(0.35 + 0.01 * step, 0.5) for step in range(41)]
    before, drawn, began = painter.submitted, painter.pictures, time.monotonic()
    yield from stage.drag(director.MIDDLE, places)
    stage.screenshot("2_stuck")
    yield live.settled("the picture after the turn")
    stage.facts["seconds_of_the_turn"] = time.monotonic() - began
    yield stage.ticks(5)
    stage.facts["jobs_of_the_turn"] = painter.submitted - before
    stage.facts["pictures_of_the_turn"] = painter.pictures - drawn
    stage.note_picture("3_followed", painter.latest.job.view.camera, painter.latest.prepared.shown)

    bpy.context.scene.scumble.live.wipe = 0.5
    yield stage.ticks(5)
    stage.screenshot("4_wipe")
    bpy.context.scene.scumble.live.wipe = 1.0

    head = bpy.data.objects[stage.part("example_scene").HERO]
    for thing in bpy.context.scene.objects:
        thing.select_set(thing == head)
    stage.view3d()[0].view_layer.objects.active = head
    stage.move(stage.in_view(0.5, 0.4))
    yield stage.ticks(3)
    x, first = head.location.x, painter.latest.id
    for keys in ("g", "x", "1", "Return"):
        yield from stage.key(keys)
    yield stage.until(lambda: abs(head.location.x - x - 1.0) < 1e-3, "the head moved", 10.0)
    stage.screenshot("5_moved_with_its_paint")
    yield stage.until(lambda: live.is_settled() and painter.latest.id != first, "the picture of the moved head")
    second = painter.latest.id
    yield from stage.key("ctrl+z")
    yield stage.until(
        lambda: abs(bpy.data.objects[stage.part("example_scene").HERO].location.x - x) < 1e-3, "the undo", 10.0
    )
    yield stage.until(lambda: live.is_settled() and painter.latest.id != second, "the picture after undo")
    yield stage.ticks(5)
    stage.screenshot("6_after_undo")

    stage.facts["blocks_as_before"] = blocks == {name: len(getattr(bpy.data, name)) for name in blocks}
    stage.facts["timings"] = live.timings()
    with stage.override():
        bpy.ops.scumble.live_keep()
    stage.facts["images_kept"] = len(bpy.data.images) - blocks["images"]
    with stage.override():
        bpy.ops.scumble.live()
    yield stage.ticks(10)
    stage.facts["left_behind"] = [name for name in stage.handlers() if ".live." in name]
    stage.screenshot("7_off")


director.play(scenario)
