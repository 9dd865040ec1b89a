"""The panels at the size of the interface that the screen is for: all of them open, once at work and once at rest."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import director


def scenario(stage: director.Stage) -> Generator:
    yield from stage.install()
    scene = stage.part("example_scene").build()
    window, area = stage.view3d()
    window.scene = scene
    bpy.context.preferences.view.ui_scale = max(1.0, window.width / 1600)
    yield stage.ticks(5)
    yield from stage.open_tab()
    sidebar = next(region for region in area.regions if region.type == "UI")
    stage.facts["sidebar"] = [sidebar.x, sidebar.y, sidebar.width, sidebar.height, sidebar.view2d.region_to_view(0, 0)]
    stage.facts["scale"] = bpy.context.preferences.system.ui_scale
    stage.screenshot("looks_1_fresh")
    yield from stage.connect()
    yield from stage.type_prompt("mossy stone, overcast")
    yield stage.ticks(5)
    stage.screenshot("looks_2_connected")


director.play(scenario)
