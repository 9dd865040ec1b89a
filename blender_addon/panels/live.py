"""The panel of live mode."""

from __future__ import annotations

import bpy

from ..live import control
from .main import SidebarPanel

__all__ = ["CLASSES"]


class SCUMBLE_PT_live(SidebarPanel, bpy.types.Panel):
    bl_label = "Live"
    bl_parent_id = "SCUMBLE_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, live = self.layout, context.scene.scumble.live
        painter = control.painter()
        row = layout.row()
        row.scale_y = 1.4
        text = "Stop Live" if painter else "Start Live"
        row.operator("scumble.live", text=text, icon="PAUSE" if painter else "PLAY", depress=painter is not None)
        if painter is not None:
            layout.label(text=painter.status(), icon="PAUSE" if painter.paused or painter.trouble else "REC")
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(live, "rate")
        layout.prop(live, "refine")
        layout.prop(live, "noise")
        row = layout.row(align=True)
        row.operator("scumble.live_keep", icon="IMAGE_DATA")
        row.operator("scumble.live_texture", icon="TEXTURE")


class SCUMBLE_PT_live_display(SidebarPanel, bpy.types.Panel):
    bl_label = "Display"
    bl_parent_id = "SCUMBLE_PT_live"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, live = self.layout, context.scene.scumble.live
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(heading="Show")
        column.prop(live, "on_surface")
        column.prop(live, "only_objects")
        column = layout.column(align=True)
        column.prop(live, "opacity")
        column.prop(live, "wipe")


CLASSES = (SCUMBLE_PT_live, SCUMBLE_PT_live_display)
