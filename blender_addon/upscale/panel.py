"""Panels for enlarging, in the 3D view's Sidebar and in that of image editors."""

from __future__ import annotations

import bpy

from ..panels.main import SidebarPanel
from .operators import image_of

__all__ = ["CLASSES"]


class _Enlarge:
    bl_label = "Enlarge Image"

    def draw(self, context: bpy.types.Context) -> None:
        layout, own, image = self.layout, context.scene.scumble_upscale, image_of(context)
        row = layout.row()
        row.enabled = image is not None
        row.operator(
            "scumble.upscale", text=f"Enlarge {image.name}" if image else "Enlarge Image", icon="FULLSCREEN_ENTER"
        )
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.row().prop(own, "factor", expand=True)
        column.prop(own, "method")
        if own.method == "diffusion":
            column.prop(own, "strength")
            column.prop(own, "use_prompt")
        column.prop(own, "tiling")
        column.prop(own, "replace")


class SCUMBLE_PT_upscale(_Enlarge, SidebarPanel, bpy.types.Panel):
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}


class SCUMBLE_PT_upscale_image(_Enlarge, bpy.types.Panel):
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Scumble"


CLASSES = (SCUMBLE_PT_upscale, SCUMBLE_PT_upscale_image)
