"""A scene to try Scumble on."""

from __future__ import annotations

import bpy

from .. import example_scene

__all__ = ["CLASSES", "draw_in_add_menu"]

PROMPT = "mossy stone ruin"


class SCUMBLE_OT_add_example_scene(bpy.types.Operator):
    """Add a small scene to try Scumble on, beside the scenes of this file, and show it"""

    bl_idname = "scumble.add_example_scene"
    bl_label = "Add Example Scene"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = example_scene.build()
        scene.scumble.prompt = PROMPT
        scene.scumble.source = "CAMERA"
        context.window.scene = scene
        return {"FINISHED"}


def draw_in_add_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.separator()
    menu.layout.operator(SCUMBLE_OT_add_example_scene.bl_idname, text="Scumble Example Scene", icon="SCENE_DATA")


CLASSES = (SCUMBLE_OT_add_example_scene,)
