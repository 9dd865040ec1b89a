"""Styles under the prompt, and what the seed makes of it."""

from __future__ import annotations

import bpy
from scumble_shared.errors import ScumbleError
from scumble_shared.prompts import expand

from ..panels.main import SidebarPanel, draw_text
from ..status import sentence
from ..words import known_styles, names_of, wildcards, written

__all__ = ["CLASSES"]


class SCUMBLE_MT_styles(bpy.types.Menu):
    bl_label = "Styles"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, names_of(context.scene)
        for style in known_styles():
            icon = "CHECKBOX_HLT" if style.name in chosen else "CHECKBOX_DEHLT"
            layout.operator("scumble.style_toggle", text=style.name, icon=icon, translate=False).name = style.name
        layout.separator()
        layout.operator("scumble.style_save", icon="ADD")
        layout.operator("scumble.styles_import", icon="IMPORT")
        layout.operator("scumble.styles_export", icon="EXPORT")
        if known_styles():
            layout.menu("SCUMBLE_MT_styles_remove", icon="TRASH")


class SCUMBLE_MT_styles_remove(bpy.types.Menu):
    bl_label = "Delete Style"

    def draw(self, context: bpy.types.Context) -> None:
        for style in known_styles():
            self.layout.operator("scumble.style_remove", text=style.name, translate=False).name = style.name


class SCUMBLE_PT_words(SidebarPanel, bpy.types.Panel):
    bl_label = "Words"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        try:
            known_styles()
            self._draw_styles(layout, scene)
            words = written(scene)
            if words.has_choices:
                draw_text(layout, expand(words.prompt, scene.scumble.seed, wildcards()), "SHADERFX")
        except ScumbleError as error:
            draw_text(layout, sentence(error.info), "ERROR")
        row = layout.row(align=True)
        row.operator("scumble.settings_from_image", icon="FILE_IMAGE")

    def _draw_styles(self, layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
        layout.menu("SCUMBLE_MT_styles", icon="BRUSHES_ALL" if bpy.app.version >= (4, 3, 0) else "BRUSH_DATA")
        for name in names_of(scene):
            row = layout.row(align=True)
            row.label(text=name, icon="DOT", translate=False)
            row.operator("scumble.style_toggle", text="", icon="X").name = name
        if names_of(scene):
            layout.operator("scumble.style_into_prompt", icon="TEXT")


CLASSES = (SCUMBLE_MT_styles, SCUMBLE_MT_styles_remove, SCUMBLE_PT_words)
