"""What an artist sets for seamless materials."""

from __future__ import annotations

import bpy
from scumble_shared.limits import DEFAULT_LIMITS

__all__ = ["SCUMBLE_PG_seamless", "register", "unregister"]

TILINGS = (
    ("xy", "Both", "The picture repeats in both directions"),
    ("x", "Across", "It repeats from left to right alone, as a band does"),
    ("y", "Upwards", "It repeats from bottom to top alone, as a pillar does"),
)

PROJECTIONS = (
    ("FLAT", "UV Map", "Laid out by the objects' UV maps"),
    ("BOX", "Box", "Laid on to the objects from six sides, without a UV map"),
)


class SCUMBLE_PG_seamless(bpy.types.PropertyGroup):
    """A scene's settings for seamless materials; prompt, model and steps are those of its pictures."""

    size: bpy.props.IntProperty(
        name="Size",
        description="Side of the picture",
        default=512,
        min=64,
        max=DEFAULT_LIMITS.generate_side,
        subtype="PIXEL",
    )
    tiling: bpy.props.EnumProperty(name="Repeats", description="Where the picture goes on as it began", items=TILINGS)
    projection: bpy.props.EnumProperty(
        name="Mapping", description="How the picture gets on to objects", items=PROJECTIONS
    )
    scale: bpy.props.FloatProperty(
        name="Scale", description="How often it repeats: in the UV map, or in a unit of length", default=1.0, min=0.001
    )
    assign: bpy.props.BoolProperty(
        name="Assign to Selection",
        description="Put it into the active slot of the selected objects",
        default=False,
    )
    as_asset: bpy.props.BoolProperty(name="Mark as Asset", description="Show it in the asset browser", default=False)


def register() -> None:
    bpy.utils.register_class(SCUMBLE_PG_seamless)
    bpy.types.Scene.scumble_seamless = bpy.props.PointerProperty(type=SCUMBLE_PG_seamless, name="Scumble Seamless")


def unregister() -> None:
    del bpy.types.Scene.scumble_seamless
    bpy.utils.unregister_class(SCUMBLE_PG_seamless)
