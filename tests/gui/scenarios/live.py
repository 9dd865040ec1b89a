"""Live mode as an artist sees it: on, orbit with the picture stuck to things, wipe, two windows, undo, new file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director

PROMPT = "mossy stone ruin"


def scenario(stage: director.Stage) -> Generator:
    bpy.ops.extensions.package_install_files(
        filepath=str(stage.folder / "scumble.zip"), repo="user_default", enable_on_install=True, overwrite=True
    )
    from bl_ext.user_default.scumble import example_scene
    from bl_ext.user_default.scumble.live import control
    from bl_ext.user_default.scumble.preferences import preferences
    from bl_ext.user_default.scumble.session import ConnectionState
    from bl_ext.user_default.scumble.state import session

    preferences().connection = "RUNNING"
    scene = example_scene.build()
    bpy.context.window_manager.windows[0].scene = scene
    yield stage.ticks(5)
    _, area = stage.view3d()
    space = area.spaces.active
    space.show_region_ui = True
    space.region_3d.view_location = (0.0, 0.0, 1.4)
    space.region_3d.view_distance = 12.0
    yield stage.ticks(10)
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Scumble"
    settings = scene.scumble
    settings.prompt, settings.seed, settings.source = PROMPT, 7, "VIEWPORT"
    settings.width = settings.height = 256
    settings.num_inference_steps = 6
    bpy.ops.scumble.connect()
    yield stage.until(lambda: session().state is ConnectionState.READY, "the server")

    def painter() -> object:
        return control.painter()

    def settled() -> bool:
        return painter().idle and painter().pictures > 0 and not painter().paused

    def orbit(degrees: float) -> None:
        with stage.override():
            bpy.ops.view3d.view_orbit(angle=math.radians(degrees), type="ORBITRIGHT")

    blocks = {name: len(getattr(bpy.data, name)) for name in ("images", "materials", "textures", "objects")}
    with stage.override():
        bpy.ops.scumble.live()
    yield stage.until(settled, "the first pictures", 240.0)
    yield stage.ticks(10)
    stage.screenshot("live_1_still")
    stage.facts["status"], stage.facts["quality"] = painter().status(), str(painter().quality)

    before = painter().submitted
    yield stage.until(_lasting(2.0), "two seconds of nothing")
    stage.facts["jobs_while_still"] = painter().submitted - before
    stage.facts["rests_while_still"] = painter().resting

    orbit(25.0)  # what is shown then is the picture from before, on the surfaces
    yield stage.ticks(2)
    stage.screenshot("live_2_stuck")
    yield stage.until(settled, "the picture of the new view", 240.0)
    yield stage.ticks(5)
    stage.screenshot("live_3_followed")

    before, drawn = painter().submitted, painter().pictures
    for _ in range(40):
        orbit(1.0)
        yield stage.ticks(1)
    yield stage.until(settled, "the picture after the turn", 240.0)
    stage.facts["jobs_of_a_turn_of_40_parts"] = painter().submitted - before
    stage.facts["pictures_of_the_turn"], stage.facts["quality_after"] = (
        painter().pictures - drawn,
        str(painter().quality),
    )

    scene.scumble.live.wipe = 0.5
    yield stage.ticks(5)
    stage.screenshot("live_4_wipe")
    scene.scumble.live.wipe = 1.0

    with stage.override():
        bpy.ops.wm.window_new()
    yield stage.ticks(10)
    other = bpy.context.window_manager.windows[-1]
    stage.facts["windows"] = len(bpy.context.window_manager.windows)
    yield stage.ticks(10)
    stage.screenshot("live_5_two_windows")
    with bpy.context.temp_override(window=other):
        bpy.ops.wm.window_close()
    yield stage.ticks(5)

    head = bpy.data.objects[example_scene.HERO]
    with stage.override():
        bpy.ops.ed.undo_push(message="Before")
        head.location.x += 1.0
        bpy.ops.ed.undo_push(message="Moved")
    yield stage.ticks(2)
    stage.screenshot("live_6_moved_with_its_paint")
    yield stage.until(settled, "the picture of the moved head", 240.0)
    before = painter().latest.id
    with stage.override():
        bpy.ops.ed.undo()
    yield stage.until(lambda: settled() and painter().latest.id != before, "the picture after undo", 240.0)
    yield stage.ticks(5)
    stage.screenshot("live_7_after_undo")

    stage.facts["blocks_as_before"] = blocks == {name: len(getattr(bpy.data, name)) for name in blocks}
    timings = painter().timings
    stage.facts["turn_p95_ms"] = _p95(timings.turns)
    stage.facts["capture_p95_ms"] = _p95(timings.captures)
    stage.facts["surface_draw_p95_ms"] = _p95(timings.draws)
    stage.facts["pictures"] = painter().pictures

    orbit(10.0)
    yield stage.ticks(1)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    yield stage.ticks(10)
    stage.facts["on_after_new"] = control.is_on()
    stage.facts["handlers_after_new"] = [
        f"{name}: {function}"
        for name in dir(bpy.app.handlers)
        if name != "exit_pre" and isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
        if ".live." in getattr(function, "__module__", "")
    ]
    stage.screenshot("live_8_new_file")


def _p95(values: object) -> float:
    ordered = sorted(values)
    return round(ordered[int(0.95 * (len(ordered) - 1))] * 1e3, 2) if ordered else -1.0


def _lasting(seconds: float) -> object:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


director.play(scenario)
