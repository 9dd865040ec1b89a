"""Settings under a name: some that come with the extension, and the artist's own.

Blender looks for presets in each registered path's folder of the menu's name; the artist's go to the user's scripts.
"""

from __future__ import annotations

from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase

__all__ = ["PRESET_FOLDER", "SCUMBLE_OT_preset_add", "register", "unregister"]

PRESET_FOLDER = "scumble"
SAVED = (
    "negative_prompt",
    "model_id",
    "width",
    "height",
    "batch_size",
    "sampler",
    "num_inference_steps",
    "guidance_scale",
    "quality",
    "texture_size",
    "angle_exponent",
)
"""Everything but what belongs to one picture: prompt, seed and source."""


class SCUMBLE_OT_preset_add(AddPresetBase, bpy.types.Operator):
    """Keep these settings under a name, or remove them"""

    bl_idname = "scumble.preset_add"
    bl_label = "Add Scumble Preset"
    preset_menu = "SCUMBLE_PT_presets"
    preset_subdir = PRESET_FOLDER
    preset_defines = ["settings = bpy.context.scene.scumble"]
    preset_values = [f"settings.{name}" for name in SAVED]


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((SCUMBLE_OT_preset_add,))


def register() -> None:
    _register_classes()
    bpy.utils.register_preset_path(str(Path(__file__).parent.parent))


def unregister() -> None:
    bpy.utils.unregister_preset_path(str(Path(__file__).parent.parent))
    _unregister_classes()
