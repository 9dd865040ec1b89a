"""The list of reference pictures. Stored with the scene; adapters by their ids."""

from __future__ import annotations

import bpy

from ..parts_of_steps import part_of_steps
from .choices import AUTOMATIC, adapter_items, adapter_of

__all__ = ["SCUMBLE_PG_reference", "SCUMBLE_PG_references", "register", "unregister"]

USES = (
    ("all", "All", "Everything the adapter takes from a picture", "IMAGE_DATA", 0),
    ("style", "Style", "Colours, light and manner, not what is to be seen", "BRUSH_DATA", 1),
    ("content", "Content", "What is to be seen and where, not how it is painted", "MESH_MONKEY", 2),
)


def _get_adapter(reference: SCUMBLE_PG_reference) -> int:
    return adapter_of(reference)


def _set_adapter(reference: SCUMBLE_PG_reference, value: int) -> None:
    chosen = adapter_items(reference, None)[value][0]
    reference.adapter_id = "" if chosen == AUTOMATIC else chosen


class SCUMBLE_PG_reference(bpy.types.PropertyGroup):
    """One picture; see ``scumble_shared.job.Reference``."""

    enabled: bpy.props.BoolProperty(name="Use", description="Let this picture act", default=True)
    image: bpy.props.PointerProperty(
        type=bpy.types.Image, name="Picture", description="What it is to look like; the square in its middle counts"
    )
    weight: bpy.props.FloatProperty(
        name="Weight",
        description="How much it counts beside the prompt",
        default=0.6,
        min=0.0,
        max=10.0,
        soft_max=1.0,
        subtype="FACTOR",
    )
    use: bpy.props.EnumProperty(name="Take", description="What is taken from the picture", items=USES)
    adapter_id: bpy.props.StringProperty(
        name="Adapter Id", description="Id of an IP-Adapter; empty takes the one that suits the model"
    )
    adapter: bpy.props.EnumProperty(
        name="Adapter",
        description="What looks at the picture",
        items=adapter_items,
        get=_get_adapter,
        set=_set_adapter,
    )
    start: part_of_steps("Start", "Part of the steps after which it begins", 0.0)
    end: part_of_steps("End", "Part of the steps after which it lets go", 1.0)
    mask: bpy.props.PointerProperty(
        type=bpy.types.Image,
        name="Where",
        description="White where in the picture it acts; everywhere without one, and when texturing all around",
    )
    show_details: bpy.props.BoolProperty(name="Details", description="Show when and where it acts", default=False)


class SCUMBLE_PG_references(bpy.types.PropertyGroup):
    pictures: bpy.props.CollectionProperty(type=SCUMBLE_PG_reference, name="Pictures")


_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (SCUMBLE_PG_reference, SCUMBLE_PG_references)
)


def register() -> None:
    _register_classes()
    bpy.types.Scene.scumble_references = bpy.props.PointerProperty(
        type=SCUMBLE_PG_references, name="Scumble References"
    )


def unregister() -> None:
    del bpy.types.Scene.scumble_references
    _unregister_classes()
