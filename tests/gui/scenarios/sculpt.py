"""Live mode beside other work: a sculpt stroke and its undo, a second window, another workspace and back."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director
import numpy as np

UNDOABLY = "EXEC_DEFAULT"
"""With True behind it, an operator is a step of undo, as it is when a person calls it."""


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    window, _ = stage.view3d()
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    with stage.override():
        bpy.ops.mesh.primitive_uv_sphere_add(UNDOABLY, True, segments=64, ring_count=48, radius=2.0)
    ball = window.view_layer.objects.active
    yield from stage.open_tab()
    stage.quick_settings()
    yield from stage.connect()
    live = stage.live()
    with stage.override():
        bpy.ops.scumble.live()
        bpy.ops.object.mode_set(UNDOABLY, True, mode="SCULPT")
    take_brush(stage)
    yield live.settled("the first picture")
    painter = live.painter()
    stage.screenshot("1_before")

    mesh, shape = ball.name, corners(ball)
    before, drawn = painter.submitted, painter.pictures
    x, y = stage.seen_at(ball.location)
    places = [(x + 4.0 * step, y) for step in range(-8, 9)]
    yield from stage.drag(director.LEFT, places)
    yield live.settled("the picture of the stroke")
    stage.facts["sculpted"] = bool(np.abs(corners(bpy.data.objects[mesh]) - shape).max() > 1e-3)
    stage.facts["jobs_of_the_stroke"] = painter.submitted - before
    stage.facts["pictures_of_the_stroke"] = painter.pictures - drawn
    yield stage.ticks(5)
    stage.screenshot("2_sculpted")
    assert stage.facts["sculpted"]
    assert stage.facts["pictures_of_the_stroke"]
    latest = painter.latest.id
    yield from stage.key("ctrl+z")
    yield stage.until(lambda: live.is_settled() and painter.latest.id != latest, "the picture after undo")
    stage.facts["undone"] = bool(np.abs(corners(bpy.data.objects[mesh]) - shape).max() < 1e-5)
    yield from stroke_with_dynamic_topology(stage, live, mesh)
    with stage.override():
        bpy.ops.object.mode_set(UNDOABLY, True, mode="OBJECT")
    yield live.settled("a rest")

    with stage.override():
        bpy.ops.wm.window_new()
    yield stage.ticks(20)
    windows = bpy.context.window_manager.windows
    stage.facts["windows"] = len(windows)
    stage.screenshot("3_two_windows")
    latest = painter.latest.id
    bpy.data.objects[mesh].location.z += 0.5
    yield stage.until(lambda: live.is_settled() and painter.latest.id != latest, "a picture beside a second window")
    with bpy.context.temp_override(window=windows[-1]):
        bpy.ops.wm.window_close()
    yield stage.ticks(5)
    stage.facts["windows_after"] = len(windows)

    window, _ = stage.view3d()
    window.workspace = bpy.data.workspaces["Scripting"]
    window.workspace = bpy.data.workspaces["Rendering"]
    yield stage.until(lambda: window.screen.name.startswith("Rendering"), "the other workspace")
    yield stage.until(lambda: bool(painter.paused), "the pause without a viewport", 20.0)
    stage.facts["paused"] = painter.paused
    before = painter.submitted
    bpy.data.objects[mesh].location.z -= 0.5
    yield stage.lasting(1.0)
    stage.facts["jobs_without_a_viewport"] = painter.submitted - before
    stage.screenshot("4_no_viewport")
    latest = painter.latest.id
    window.workspace = bpy.data.workspaces["Layout"]
    yield stage.until(lambda: live.is_settled() and painter.latest.id != latest, "a picture, back in the workspace")
    stage.facts["paused_after"] = painter.paused
    yield stage.ticks(5)
    stage.screenshot("5_back")


def stroke_with_dynamic_topology(stage: director.Stage, live: director.Live, mesh: str) -> Generator:
    """Blender keeps such strokes out of the mesh until it is asked for them."""
    with stage.override():
        bpy.ops.sculpt.dynamic_topology_toggle(UNDOABLY, True)
    yield live.settled("dynamic topology")
    painter, ball = live.painter(), bpy.data.objects[mesh]
    stage.facts["dynamic"] = ball.use_dynamic_topology_sculpting
    count, drawn = len(ball.data.vertices), painter.pictures
    x, y = stage.seen_at(ball.location)
    yield from stage.drag(director.LEFT, [(x + 4.0 * step, y + 30.0) for step in range(-8, 9)])
    yield stage.until(lambda: live.is_settled() and painter.pictures > drawn, "the picture of the stroke")
    stage.facts["dynamic_sculpted"] = len(bpy.data.objects[mesh].data.vertices) != count
    stage.screenshot("2b_dynamic")
    latest = painter.latest.id
    yield from stage.key("ctrl+z")
    yield stage.until(
        lambda: live.is_settled() and painter.latest.id != latest, "the picture after undo of that stroke"
    )
    stage.facts["dynamic_undone"] = len(bpy.data.objects[mesh].data.vertices) == count


def take_brush(stage: director.Stage) -> None:
    """Debian's Blender 4.3 comes without the brushes that belong to Blender."""
    if bpy.context.scene.tool_settings.sculpt.brush is not None:
        return
    bpy.data.brushes.new("Draw", mode="SCULPT").asset_mark()
    with stage.override():
        bpy.ops.brush.asset_activate(asset_library_type="LOCAL", relative_asset_identifier="Brush/Draw")


def corners(thing: bpy.types.Object) -> np.ndarray:
    """Of its mesh: n x 3."""
    found = np.empty(3 * len(thing.data.vertices), np.float32)
    thing.data.vertices.foreach_get("co", found)
    return found.reshape(-1, 3)


director.play(scenario)
