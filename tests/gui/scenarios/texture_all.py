"""Texturing all around in a window: views and coverage shown, the texture forming on the mesh, one undo."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    bpy.ops.extensions.package_install_files(
        filepath=str(stage.folder / "scumble.zip"), repo="user_default", enable_on_install=True, overwrite=True
    )
    from bl_ext.user_default.scumble import api
    from bl_ext.user_default.scumble.preferences import preferences
    from bl_ext.user_default.scumble.session import ConnectionState
    from bl_ext.user_default.scumble.state import session
    from bl_ext.user_default.scumble.texture_all import live

    preferences().connection = "RUNNING"
    scene = bpy.context.scene
    for thing in list(scene.objects):
        bpy.data.objects.remove(thing)
    with stage.override():
        bpy.ops.mesh.primitive_monkey_add(size=2.0)
    monkey = scene.objects[0]
    monkey.modifiers.new("Subdivision", "SUBSURF").levels = 2
    _, area = stage.view3d()
    space = area.spaces.active
    space.show_region_ui = True
    space.region_3d.view_distance = 9.0
    yield stage.ticks(10)
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Scumble"
    settings = scene.scumble
    settings.prompt, settings.seed, settings.lock_seed = "mossy stone", 7, True
    settings.width = settings.height = 128
    settings.num_inference_steps, settings.texture_size = 12, 512
    yield stage.ticks(10)

    with stage.override():
        bpy.ops.scumble.preview_views()
    yield stage.until(lambda: live.coverage_plan() is not None, "the views")
    stage.facts["coverage"] = live.coverage_plan().coverage
    yield stage.ticks(10)
    stage.screenshot("1_coverage")

    bpy.ops.scumble.connect()
    yield stage.until(lambda: session().state is ConnectionState.READY, "the server")
    with stage.override():
        bpy.ops.ed.undo_push(message="Before")
        bpy.ops.scumble.texture_around()
    yield stage.until(lambda: bool(session().jobs.all()), "the job")
    job_id = session().jobs.all()[-1].id

    def forming() -> bool:
        shown = live._state.shown
        return api.job(job_id).state.ended or (shown is not None and shown.drawing is not None)

    yield stage.until(forming, "a preview on the mesh", 240.0)
    yield stage.ticks(2)
    stage.facts["forming"] = live._state.shown is not None and live._state.shown.job_id == job_id
    stage.facts["materials_while_forming"] = len(monkey.material_slots)
    stage.screenshot("2_forming")
    yield stage.until(lambda: api.job(job_id).state.ended, "the texture", 240.0)
    space.shading.type = "SOLID"
    space.shading.color_type = "TEXTURE"
    yield stage.ticks(20)
    stage.facts["materials"] = [slot.name for slot in monkey.material_slots]
    stage.screenshot("3_textured")

    with stage.override():
        bpy.ops.ed.undo()
    yield stage.ticks(10)
    stage.facts["materials_after_undo"] = [slot.name for slot in bpy.data.objects[0].material_slots]


director.play(scenario, smooth=True)
