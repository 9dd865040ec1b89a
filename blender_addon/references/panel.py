"""The list of reference pictures in the Sidebar."""

from __future__ import annotations

import bpy

from ..panels.main import SidebarPanel, draw_text
from .choices import why_none
from .properties import SCUMBLE_PG_reference

__all__ = ["CLASSES"]


class SCUMBLE_PT_references(SidebarPanel, bpy.types.Panel):
    bl_label = "References"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, pictures = self.layout, context.scene.scumble_references.pictures
        hint = why_none(context.scene.scumble.model_id)
        if hint:
            draw_text(layout, hint, "ERROR" if any(entry.enabled for entry in pictures) else "INFO")
        for index, entry in enumerate(pictures):
            _draw_reference(layout, entry, index)
        row = layout.row(align=True)
        row.operator("scumble.reference_open", icon="FILEBROWSER")
        row.operator("scumble.reference_add", text="", icon="ADD")


def _draw_reference(layout: bpy.types.UILayout, entry: SCUMBLE_PG_reference, index: int) -> None:
    box = layout.box().column(align=True)
    row = box.row(align=True)
    row.prop(entry, "enabled", text="")
    image = row.row(align=True)
    image.active = entry.enabled
    image.prop(entry, "image", text="")
    arrow = "DOWNARROW_HLT" if entry.show_details else "RIGHTARROW"
    row.prop(entry, "show_details", text="", icon=arrow, emboss=False)
    row.operator("scumble.reference_remove", text="", icon="X").index = index
    acting = box.column(align=True)
    acting.active = entry.enabled
    row = acting.row(align=True)
    row.prop(entry, "use", text="")
    row.prop(entry, "weight", text="")
    if entry.show_details:
        acting.use_property_split = True
        acting.use_property_decorate = False
        acting.prop(entry, "adapter")
        acting.prop(entry, "start")
        acting.prop(entry, "end")
        acting.prop(entry, "mask")


CLASSES = (SCUMBLE_PT_references,)
