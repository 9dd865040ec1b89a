"""What a scene's sheet varies."""

from __future__ import annotations

import bpy
from scumble_shared.sheets import CELLS

__all__ = ["SCUMBLE_PG_sheet", "register", "unregister"]

KINDS = (
    ("none", "Nothing", "One row or column"),
    ("seed", "Seed", "Such as 1-4"),
    ("steps", "Steps", "Such as 8, 20, 30 or 8-32 (+8)"),
    ("guidance", "Guidance", "Such as 3-9 (+2)"),
    ("sampler", "Sampler", "Such as euler, dpmpp_2m_karras"),
    ("prompt", "Words", "The first is looked for in the prompt, the others take its place: stone, moss, wet brick"),
    ("strength", "Control Strength", "Such as 0-1 [5]: five values from 0 to 1"),
    ("model", "Model", "Ids of models"),
)
ITEMS = tuple((*item, index) for index, item in enumerate(KINDS))


class SCUMBLE_PG_sheet(bpy.types.PropertyGroup):
    x: bpy.props.EnumProperty(
        name="Across", description="What differs from column to column", items=ITEMS, default="steps"
    )
    x_values: bpy.props.StringProperty(name="Values", description="Of the columns, with commas", default="4, 8, 16")
    y: bpy.props.EnumProperty(name="Down", description="What differs from row to row", items=ITEMS, default="none")
    y_values: bpy.props.StringProperty(name="Values", description="Of the rows, with commas", default="1-3")
    count: bpy.props.IntProperty(
        name="Variations", description="How many seeds, one after the other", default=4, min=1, max=CELLS, soft_max=16
    )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((SCUMBLE_PG_sheet,))


def register() -> None:
    _register_classes()
    bpy.types.Scene.scumble_sheet = bpy.props.PointerProperty(type=SCUMBLE_PG_sheet, name="Scumble Sheet")


def unregister() -> None:
    del bpy.types.Scene.scumble_sheet
    _unregister_classes()
