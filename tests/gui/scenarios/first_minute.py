"""An artist's first minute: enable, connect, prompt, generate with previews, texture, undo."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director

PROMPT = "mossy stone, overcast"


def scenario(stage: director.Stage) -> Generator:
    bpy.ops.extensions.package_install_files(
        filepath=str(stage.folder / "scumble.zip"), repo="user_default", enable_on_install=True, overwrite=True
    )
    from bl_ext.user_default.scumble import api, example_scene
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
    space.region_3d.view_perspective = "CAMERA"
    space.overlay.show_overlays = False
    yield stage.ticks(10)
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Scumble"
    yield stage.ticks(10)
    stage.screenshot("1_fresh")

    bpy.ops.scumble.connect()
    yield stage.until(lambda: session().state is ConnectionState.READY, "the server")
    settings = scene.scumble
    settings.prompt, settings.seed, settings.lock_seed = PROMPT, 7, True
    settings.width = settings.height = 512
    settings.source = "VIEWPORT"
    settings.num_inference_steps = 8
    for kind in ("depth", "normal"):
        bpy.ops.scumble.control_add(kind=kind)
    with stage.override():
        bpy.ops.scumble.control_images()
    yield stage.until(lambda: not session().jobs.live(), "the control images")
    with stage.override():
        bpy.ops.scumble.generate()
    job_id = session().jobs.all()[-1].id
    yield stage.until(lambda: api.job(job_id).step >= 2 or api.job(job_id).state.ended, "a preview", 240.0)
    stage.screenshot("2_forming")
    yield stage.until(lambda: api.job(job_id).state.ended, "the result", 240.0)
    stage.facts["generate"] = api.job(job_id).state.value
    yield stage.ticks(10)
    stage.screenshot("3_result")

    head = bpy.data.objects[example_scene.HERO]
    for thing in scene.objects:
        thing.select_set(thing.type == "MESH")
    with stage.override():
        bpy.ops.scumble.texture_from_view()
    yield stage.until(lambda: not session().jobs.live(), "the texture", 240.0)
    stage.facts["materials"] = [slot.name for slot in head.material_slots]
    with stage.override():
        bpy.ops.scumble.show_overlay()
    space.shading.type = "SOLID"
    space.shading.color_type = "TEXTURE"
    space.shading.light = "FLAT"
    space.region_3d.view_perspective = "PERSP"
    yield stage.ticks(20)
    stage.screenshot("4_textured")

    with stage.override():
        bpy.ops.ed.undo()
    yield stage.ticks(10)
    stage.facts["materials_after_undo"] = [slot.name for slot in bpy.data.objects[example_scene.HERO].material_slots]


director.play(scenario, smooth=True)
