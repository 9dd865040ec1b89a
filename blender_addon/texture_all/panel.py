"""The Sidebar's panel for texturing all around."""

from __future__ import annotations

import bpy

from ..panels.main import SidebarPanel, draw_maps
from . import actions, live
from .properties import SCUMBLE_PG_around, SCUMBLE_PG_texture
from .recipe import has_recipe

__all__ = ["CLASSES"]


class SCUMBLE_PT_around(SidebarPanel, bpy.types.Panel):
    bl_label = "Texture All Around"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, around = self.layout, context.scene.scumble_around
        _draw_buttons(layout)
        views = layout.column()
        views.use_property_split = True
        views.use_property_decorate = False
        views.column().prop(around, "views")
        if "CAMERAS" in around.views:
            _draw_cameras(layout, around)
        _draw_settings(layout, context.scene.scumble, around)
        header, body = layout.panel_prop(around, "show_prompts")
        header.label(text="Prompts of Views")
        if body is not None:
            _draw_prompts(body, around)


class SCUMBLE_PT_texture(SidebarPanel, bpy.types.Panel):
    """What the active object was textured with."""

    bl_label = "Texture of the Object"
    bl_parent_id = "SCUMBLE_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_recipe(context.object)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        kept: SCUMBLE_PG_texture = context.object.scumble_texture
        layout.prop(kept, "prompt", text="", placeholder="Prompt")
        layout.prop(kept, "negative_prompt", text="", placeholder="Negative prompt")
        row = layout.row(align=True)
        row.operator("scumble.texture_again", icon="FILE_REFRESH")
        row.operator("scumble.rebake_texture", icon="RENDER_STILL")
        layout.operator("scumble.make_maps", icon="NODE_MATERIAL")
        layout.label(text=f"{kept.coverage:.0%} seen, seed {kept.seed}", translate=False)
        column = layout.column(align=True)
        for index, view in enumerate(kept.views):
            line = column.row(align=True)
            line.prop(view, "locked", text="", icon="LOCKED" if view.locked else "UNLOCKED")
            line.prop(view, "prompt", text="", placeholder=f"{index + 1}: {view.words}")
            line.operator("scumble.texture_view_again", text="", icon="FILE_REFRESH").index = index


def _draw_buttons(layout: bpy.types.UILayout) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.4
    row.operator("scumble.texture_around", icon="SHADING_TEXTURE")
    if actions.is_looking():
        line = layout.row(align=True)
        line.label(text="Looking round", icon="SORTTIME")
        line.operator("scumble.stop_looking", text="", icon="CANCEL")
    plan = live.coverage_plan()
    layout.operator("scumble.preview_views", text="Hide Views" if plan else "Preview Views", icon="HIDE_OFF")
    if plan is not None:
        layout.label(text=f"{len(plan.views)} views see {plan.coverage:.1%}", icon="INFO", translate=False)


def _draw_cameras(layout: bpy.types.UILayout, around: SCUMBLE_PG_around) -> None:
    column = layout.column(align=True)
    for index, entry in enumerate(around.cameras):
        line = column.row(align=True)
        line.prop(entry, "camera", text="")
        line.prop(entry, "prompt", text="", placeholder="Prompt")
        line.operator("scumble.around_camera_remove", text="", icon="X").index = index
    column.operator("scumble.around_camera_add", icon="ADD")


def _draw_settings(layout: bpy.types.UILayout, settings: object, around: SCUMBLE_PG_around) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    if "AUTOMATIC" in around.views:
        column.prop(around, "projection")
    column.prop(around, "method")
    if around.method == "synchronised":
        column.prop(around, "sync_end")
    column.prop(around, "unseen")
    column.prop(around, "extra_views")
    column.prop(around, "refine_strength")
    if around.refine_strength > 0.0:
        column.prop(around, "refine_scale")
    column.prop(settings, "texture_size")
    column.row().prop(settings, "bit_depth", expand=True)
    column.prop(settings, "keep_mask")
    column.prop(around, "angle_exponent")
    column.prop(around, "view_words")
    draw_maps(layout, settings)


def _draw_prompts(layout: bpy.types.UILayout, around: SCUMBLE_PG_around) -> None:
    column = layout.column(align=True)
    if "CURRENT" in around.views:
        column.prop(around, "current_prompt", text="", placeholder="Current View")
    for entry in around.prompts:
        column.prop(entry, "prompt", text="", placeholder=f"{entry.words}, {entry.name}")
    if not around.prompts:
        column.label(text="Preview Views lists them", icon="INFO")


CLASSES = (SCUMBLE_PT_around, SCUMBLE_PT_texture)
