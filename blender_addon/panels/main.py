"""The panels of the Sidebar tab."""

from __future__ import annotations

import textwrap

import bpy
from bl_ui.utils import PresetPanel
from scumble_shared.job import BUILT_IN_ESTIMATOR
from scumble_shared.library import LibraryJob

from ..apply import overlay
from ..apply.icons import control_icon
from ..choices import control_kinds_of, lora_info, model_info
from ..control_list import detectors_hint
from ..jobs import JobRecord
from ..operators.remedies import REMEDY_OPERATORS
from ..preferences import preferences
from ..presets import PRESET_FOLDER, SCUMBLE_OT_preset_add
from ..state import session
from ..status import connection_row, controls_hint, progress_fraction, progress_text, sentence

__all__ = ["CLASSES", "SidebarPanel", "draw_maps"]

TIP_WIDTH = 34
"""Characters that fit in a line of a Sidebar of usual width."""

ICON_SCALE = 5.0


class SCUMBLE_PT_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Scumble Presets"
    preset_subdir = PRESET_FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = SCUMBLE_OT_preset_add.bl_idname


class SidebarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Scumble"


class SCUMBLE_PT_main(SidebarPanel, bpy.types.Panel):
    bl_label = "Scumble"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        SCUMBLE_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, current, settings = self.layout, session(), context.scene.scumble
        row = connection_row(current.state, current.capabilities, preferences().connection == "LOCAL")
        line = layout.row()
        line.label(text=row.text, icon=row.icon)
        line.operator(row.operator, text=row.button, icon="PLAY" if row.button else "X")
        if current.problem is not None:
            _draw_problem(layout, current.problem)
        layout.prop(settings, "prompt", text="", placeholder="Prompt")
        layout.prop(settings, "negative_prompt", text="", placeholder="Negative prompt")
        models = layout.row(align=True)
        models.prop(settings, "model", text="")
        models.operator("scumble.refresh_models", text="", icon="FILE_REFRESH")
        layout.row().prop(settings, "source", expand=True)
        _draw_jobs(layout, current.jobs.live())
        latest = current.jobs.all()[-1:]
        if latest and latest[0].note:
            draw_text(layout, latest[0].note, "INFO")


class SCUMBLE_PT_image(SidebarPanel, bpy.types.Panel):
    bl_label = "Image"
    bl_parent_id = "SCUMBLE_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.scumble
        layout.use_property_split = True
        layout.use_property_decorate = False
        size = layout.column(align=True)
        size.prop(settings, "width")
        size.prop(settings, "height")
        layout.prop(settings, "batch_size")
        layout.prop(settings, "sampler")
        layout.prop(settings, "num_inference_steps")
        layout.prop(settings, "guidance_scale")
        layout.prop(settings, "quality")
        layout.prop(settings, "memory")
        seed = layout.row(align=True)
        seed.prop(settings, "seed")
        seed.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")


class SCUMBLE_PT_controls(SidebarPanel, bpy.types.Panel):
    bl_label = "Controls"
    bl_parent_id = "SCUMBLE_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.scumble
        offered = control_kinds_of(session().capabilities, settings.model_id)
        hint = controls_hint(offered, tuple(control.kind for control in settings.controls if control.enabled))
        if hint:
            draw_text(layout, hint, "ERROR")
        if hint := detectors_hint(session().capabilities, settings):
            draw_text(layout, hint, "ERROR")
        if not settings.controls:
            layout.prop(settings, "use_default_controls")
        shown = 0
        for index, control in enumerate(settings.controls):
            icon = control_icon(context.scene.session_uid, shown) if control.enabled else 0
            shown += control.enabled
            _draw_control(layout, control, index, icon)
        if not settings.controls:
            _draw_default_icons(layout, context.scene.session_uid)
        row = layout.row(align=True)
        row.operator_menu_enum("scumble.control_add", "kind", icon="ADD")
        row.operator("scumble.control_images", icon="HIDE_OFF")


class SCUMBLE_PT_loras(SidebarPanel, bpy.types.Panel):
    bl_label = "LoRAs"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.scumble
        capabilities = session().capabilities
        model = model_info(capabilities, settings.model_id)
        for index, lora in enumerate(settings.loras):
            info = lora_info(capabilities, lora.lora_id)
            fits = model is None or (info is not None and info.family == model.family)
            row = layout.row(align=True)
            row.prop(lora, "enabled", text="")
            name = row.row(align=True)
            name.alert = not fits
            name.label(text=info.name if info else lora.lora_id, icon="NONE" if fits else "ERROR")
            weight = row.row(align=True)
            weight.active = lora.enabled
            weight.prop(lora, "weight", text="")
            row.operator("scumble.lora_remove", text="", icon="X").index = index
        layout.operator_menu_enum("scumble.lora_add", "lora_id", icon="ADD")


class SCUMBLE_PT_result(SidebarPanel, bpy.types.Panel):
    bl_label = "Result"
    bl_parent_id = "SCUMBLE_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.scumble
        column = layout.column(align=True)
        text = "Hide Overlay" if overlay.is_shown() else "Show as Overlay"
        column.operator("scumble.show_overlay", text=text, icon="OVERLAY")
        column.operator("scumble.keep_image", icon="IMAGE_DATA")
        column.operator("scumble.texture_from_view", icon="TEXTURE")
        column.operator("scumble.restore_settings", icon="LOOP_BACK")
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.column().prop(settings, "result_actions")


class SCUMBLE_PT_result_texture(SidebarPanel, bpy.types.Panel):
    """What textures are made with that come from a view."""

    bl_label = "Texture"
    bl_parent_id = "SCUMBLE_PT_result"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.scumble
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "texture_size")
        layout.prop(settings, "angle_exponent")
        layout.row().prop(settings, "bit_depth", expand=True)
        layout.prop(settings, "keep_mask")
        draw_maps(layout, settings)


def draw_maps(layout: bpy.types.UILayout, settings: object) -> None:
    """Which maps textures come with, and who makes them where there is a choice."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.column().prop(settings, "maps")
    chosen = settings.map_estimator_id != BUILT_IN_ESTIMATOR
    if settings.maps and (chosen or len(session().capabilities.map_estimators) > 1):
        column.prop(settings, "map_estimator")


def _draw_problem(layout: bpy.types.UILayout, problem: object) -> None:
    box = layout.box()
    draw_text(box, sentence(problem), "ERROR")
    row = box.row()
    remedy = problem.remedy
    if remedy is not None and remedy.action in REMEDY_OPERATORS:
        operator, argument = REMEDY_OPERATORS[remedy.action]
        button = row.operator(operator, text=remedy.label)
        if argument:
            setattr(button, argument, remedy.argument)
    elif remedy is not None:
        draw_text(box, remedy.label, "INFO")
    row.operator("scumble.dismiss_error", text="", icon="X")


def _draw_jobs(layout: bpy.types.UILayout, live: tuple[JobRecord, ...]) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.4
    row.operator("scumble.generate", icon="RENDER_STILL")
    shown = (record for record in live if not record.target.live and not isinstance(record.job, LibraryJob))
    for record in shown:
        line = layout.row(align=True)
        line.progress(factor=progress_fraction(record), text=progress_text(record))
        line.operator("scumble.cancel", text="", icon="CANCEL").job_id = record.id


def _draw_control(layout: bpy.types.UILayout, control: object, index: int, icon: int) -> None:
    box = layout.box()
    row = box.row(align=True)
    row.prop(control, "enabled", text="")
    row.prop(control, "kind", text="")
    row.prop(control, "show_details", text="", icon="PREFERENCES")
    row.operator("scumble.control_remove", text="", icon="X").index = index
    body = box.column(align=True)
    body.active = control.enabled
    body.prop(control, "source", text="")
    if control.source != "SCENE":
        body.template_ID(control, "image", open="image.open")
    body.prop(control, "strength")
    if control.show_details:
        body.prop(control, "start")
        body.prop(control, "end")
        body.prop(control, "model", text="", placeholder="ControlNet, or empty")
        if control.source == "PHOTO":
            body.prop(control, "detector", text="", placeholder="Detector, or empty")
        body.prop(control, "use_range")
        limits = body.column(align=True)
        limits.active = control.use_range
        limits.prop(control, "near")
        limits.prop(control, "far")
    if icon:
        box.template_icon(icon, scale=ICON_SCALE)


def _draw_default_icons(layout: bpy.types.UILayout, scene_uid: int) -> None:
    icons = [icon for index in range(2) if (icon := control_icon(scene_uid, index))]
    if icons:
        row = layout.row()
        for icon in icons:
            row.template_icon(icon, scale=ICON_SCALE)


def draw_text(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    column = layout.column(align=True)
    for number, line in enumerate(textwrap.wrap(text, TIP_WIDTH)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


CLASSES = (
    SCUMBLE_PT_presets,
    SCUMBLE_PT_main,
    SCUMBLE_PT_image,
    SCUMBLE_PT_controls,
    SCUMBLE_PT_loras,
    SCUMBLE_PT_result,
    SCUMBLE_PT_result_texture,
)
