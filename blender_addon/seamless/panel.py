"""The Sidebar's panel for seamless materials."""

from __future__ import annotations

import bpy

from ..panels.main import SidebarPanel, draw_maps

__all__ = ["CLASSES"]


class SCUMBLE_PT_seamless(SidebarPanel, bpy.types.Panel):
    bl_label = "Seamless Material"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, own = self.layout, context.scene.scumble_seamless
        layout.operator("scumble.seamless_material", icon="MATERIAL")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(own, "size")
        column.prop(own, "tiling")
        column.prop(own, "projection")
        column.prop(own, "scale")
        column.prop(own, "assign")
        column.prop(own, "as_asset")
        draw_maps(layout, context.scene.scumble)


CLASSES = (SCUMBLE_PT_seamless,)
