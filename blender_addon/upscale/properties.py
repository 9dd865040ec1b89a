"""What an artist sets for enlarging images."""

from __future__ import annotations

from functools import cache

import bpy
from scumble_shared.job import UpscaleJob
from scumble_shared.messages import UpscalerInfo

from ..state import session

__all__ = ["TILING_OF", "SCUMBLE_PG_upscale", "method_and_upscaler", "register", "unregister"]

FACTORS = (("2", "2x", "Twice as wide and high"), ("4", "4x", "Four times as wide and high"))

TILINGS = (
    ("NONE", "No", "It ends at its edges"),
    ("xy", "Both", "It repeats in both directions, and goes on doing so"),
    ("x", "Across", "It repeats from left to right"),
    ("y", "Upwards", "It repeats from bottom to top"),
)
TILING_OF = {"NONE": "", "xy": "xy", "x": "x", "y": "y"}
"""Menus can't have an item without a name."""

PLAIN = (
    ("diffusion", "Paint Detail", "Enlarged, then detail is painted anew by the model and the prompt"),
    ("lanczos", "Resample", "Sharp and quick; no detail is added"),
)


def _items(settings: object, context: object) -> tuple[tuple[str, str, str], ...]:
    return _items_of(session().capabilities.upscalers)


@cache
def _items_of(upscalers: tuple[UpscalerInfo, ...]) -> tuple[tuple[str, str, str], ...]:
    """Kept for ever: Blender doesn't own the strings of dynamic menus."""
    return (*PLAIN, *((f"model:{info.id}", info.name, "An upscaling network of the server") for info in upscalers))


def method_and_upscaler(chosen: str) -> tuple[str, str]:
    """Fields of an UpscaleJob for an item of the menu."""
    method, _, upscaler = chosen.partition(":")
    return method, upscaler


class SCUMBLE_PG_upscale(bpy.types.PropertyGroup):
    """A scene's settings for enlarging; see ``scumble_shared.job.UpscaleJob``."""

    factor: bpy.props.EnumProperty(name="Factor", description="How much larger", items=FACTORS)
    method: bpy.props.EnumProperty(name="Method", description="How it is enlarged", items=_items)
    strength: bpy.props.FloatProperty(
        name="New Detail",
        description="How much is painted anew",
        default=UpscaleJob.__dataclass_fields__["denoising_strength"].default,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    tiling: bpy.props.EnumProperty(name="Repeats", description="Whether the picture repeats", items=TILINGS)
    use_prompt: bpy.props.BoolProperty(
        name="Use the Prompt", description="Say what the detail is of; without it the picture alone tells", default=True
    )
    replace: bpy.props.BoolProperty(
        name="Use in Materials",
        description="Materials of this file that show the image show the larger one instead",
        default=False,
    )


def register() -> None:
    bpy.utils.register_class(SCUMBLE_PG_upscale)
    bpy.types.Scene.scumble_upscale = bpy.props.PointerProperty(type=SCUMBLE_PG_upscale, name="Scumble Upscale")


def unregister() -> None:
    del bpy.types.Scene.scumble_upscale
    bpy.utils.unregister_class(SCUMBLE_PG_upscale)
