"""Installing from the file, the tab in the sidebar, a typed prompt; then disabled and enabled again."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import addon_utils
import bpy
import director

PROMPT = "mossy stone, overcast"


def scenario(stage: director.Stage) -> Generator:
    yield stage.ticks(10)
    stage.screenshot("1_before")
    handlers = stage.handlers()
    yield from stage.install()
    stage.facts["enabled"] = addon_utils.check(director.MODULE)
    yield from stage.find_tab()
    yield from stage.type_prompt(PROMPT)
    yield stage.ticks(5)
    stage.screenshot("2_tab")

    bpy.ops.preferences.addon_disable(module=director.MODULE)
    yield stage.ticks(5)
    stage.facts["disabled"] = addon_utils.check(director.MODULE)
    stage.facts["left_behind"] = sorted(stage.handlers() - handlers)
    stage.facts["tabs_without"] = hasattr(bpy.types, "SCUMBLE_PT_main")
    bpy.ops.preferences.addon_enable(module=director.MODULE)
    yield stage.ticks(5)
    yield from stage.open_tab()
    stage.facts["prompt_again"] = bpy.context.scene.scumble.prompt
    stage.screenshot("3_again")
    _, area = stage.view3d()
    area.spaces.active.show_region_ui = False
    bpy.ops.preferences.addon_disable(module=director.MODULE)
    yield stage.ticks(10)
    stage.screenshot("4_after")


director.play(scenario)
