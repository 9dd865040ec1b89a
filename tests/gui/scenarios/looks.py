"""All panels, open, in a sidebar that is tall enough for them; at the scale of the interface that is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    scale = os.environ["SCUMBLE_UI_SCALE"]
    bpy.context.preferences.view.ui_scale = float(scale)
    yield from stage.install()
    for name in dir(bpy.types):
        if name.startswith("SCUMBLE_PT"):
            panel = getattr(bpy.types, name)
            panel.bl_options = set(getattr(panel, "bl_options", ())) - {"DEFAULT_CLOSED"}
    bpy.ops.preferences.addon_disable(module=director.MODULE)
    bpy.ops.preferences.addon_enable(module=director.MODULE)
    stage.part("preferences").preferences().connection = "RUNNING"
    window, area = stage.view3d()
    window.scene = stage.part("example_scene").build()
    stage.facts["scale"] = bpy.context.preferences.system.ui_scale
    yield from stage.open_tab()
    stage.facts["sidebar"] = stage.on_screen(stage.sidebar())
    stage.screenshot(f"{scale}x_fresh")
    yield from stage.connect()
    yield from stage.type_prompt("mossy stone, overcast")
    for kind in ("depth", "normal"):
        bpy.ops.scumble.control_add(kind=kind)
    settings = bpy.context.scene.scumble
    settings.width = settings.height = 256
    settings.num_inference_steps = 4
    with stage.override():
        bpy.ops.scumble.control_images()
    jobs = stage.part("state").session().jobs
    yield stage.until(lambda: not jobs.live(), "the control images")
    with stage.override():
        bpy.ops.scumble.generate()
    yield stage.until(lambda: not jobs.live(), "the picture")
    area.tag_redraw()
    stage.move(stage.in_view(0.1, 0.9))
    yield stage.ticks(10)
    stage.screenshot(f"{scale}x_worked")


director.play(scenario)
