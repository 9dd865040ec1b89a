"""Objects' own prompts and kinds: in the Sidebar, and among an object's properties."""

from __future__ import annotations

import bpy
from scumble_shared.ade20k import kind_named

from ..panels.main import SidebarPanel, draw_text
from .kinds import guess

__all__ = ["CLASSES"]


class SCUMBLE_PT_regions(SidebarPanel, bpy.types.Panel):
    bl_label = "Objects"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, thing = self.layout, context.object
        if thing is not None:
            layout.label(text=thing.name, icon="OBJECT_DATA", translate=False)
            _draw_region(layout, thing)
        row = layout.row(align=True)
        row.operator("scumble.region_copy", icon="COPYDOWN")
        row.operator("scumble.region_guess", icon="VIEWZOOM")
        prompted = [other for other in context.scene.objects if other.scumble_region.prompt]
        for other in sorted(prompted, key=lambda other: other.name):
            _draw_row(layout, other)


class SCUMBLE_PT_object(bpy.types.Panel):
    bl_label = "Scumble"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "object"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None

    def draw(self, context: bpy.types.Context) -> None:
        _draw_region(self.layout, context.object)


def _draw_region(layout: bpy.types.UILayout, thing: bpy.types.Object) -> None:
    own, column = thing.scumble_region, layout.column(align=True)
    column.prop(own, "prompt", text="", placeholder="Prompt of this object")
    weight = column.row(align=True)
    weight.active = bool(own.prompt)
    weight.prop(own, "weight")
    column.separator(factor=0.5)
    guessed = guess(thing, (collection.name for collection in thing.users_collection))
    column.prop(own, "kind", text="Kind", icon="VIEWZOOM", placeholder=guessed or "Anything")
    if own.kind and kind_named(own.kind) is None:
        draw_text(layout, f"ADE20K has no {own.kind}; choose one of its kinds", "ERROR")


def _draw_row(layout: bpy.types.UILayout, thing: bpy.types.Object) -> None:
    own, row = thing.scumble_region, layout.row(align=True)
    row.prop(own, "enabled", text="")
    select = row.operator("scumble.region_select", text=thing.name, translate=False)
    select.object_name = thing.name
    prompt = row.row(align=True)
    prompt.active = own.enabled
    prompt.prop(own, "prompt", text="")
    row.operator("scumble.region_remove", text="", icon="X").object_name = thing.name


CLASSES = (SCUMBLE_PT_regions, SCUMBLE_PT_object)
