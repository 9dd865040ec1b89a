"""The Models panel of the Sidebar, and its parts: what is there, what could be had, and which folders are read."""

from __future__ import annotations

import bpy
from scumble_shared.library import CatalogueModel, LibraryListing, SearchHit, ShelfModel

from ..panels.main import SidebarPanel, draw_text
from . import verbs
from .properties import SCUMBLE_PG_models
from .shelf import KINDS, errand_fraction, errand_text, family_name, size_text, state_icon
from .verbs import SHELF

__all__ = ["CLASSES"]

ROWS = 6
NAME_PART = 0.7
"""Of the width, for what a button stands beside."""


class SCUMBLE_UL_models(bpy.types.UIList):
    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: object,
        item: object,
        icon: int,
        active_data: object,
        active_property: str,
    ) -> None:
        model = SHELF.model(item.model_id)
        if model is None:
            return
        row = layout.row(align=True)
        row.label(text=model.name, icon=state_icon(model.state), translate=False)
        aside = row.row(align=True)
        aside.alignment = "RIGHT"
        aside.active = False
        aside.label(text=f"{family_name(model.family)}  {size_text(model.size)}", translate=False)


class SCUMBLE_UL_hits(bpy.types.UIList):
    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: object,
        item: object,
        icon: int,
        active_data: object,
        active_property: str,
    ) -> None:
        hit = next((hit for hit in SHELF.hits if hit.repo == item.model_id), None)
        if hit is None:
            return
        row = layout.row(align=True)
        row.label(text=hit.repo, icon="LOCKED" if hit.gated else "URL", translate=False)
        aside = row.row(align=True)
        aside.alignment = "RIGHT"
        aside.active = False
        aside.label(text=family_name(hit.family), translate=False)


class SCUMBLE_PT_models(SidebarPanel, bpy.types.Panel):
    bl_label = "Models"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, lists = self.layout, context.window_manager.scumble_models
        if reason := verbs.why_not():
            layout.label(text=reason, icon="INFO")
            return
        for record in verbs.errands():
            line = layout.row(align=True)
            line.progress(factor=errand_fraction(record), text=errand_text(record))
            line.operator("scumble.cancel", text="", icon="CANCEL").job_id = record.id
        if SHELF.listing is None:
            SHELF.wanted = True
            layout.operator("scumble.models_list", icon="FILE_REFRESH")
            return
        _draw_note(layout)
        row = layout.row()
        row.template_list("SCUMBLE_UL_models", "", lists, "models", lists, "active", rows=ROWS)
        side = row.column(align=True)
        side.operator("scumble.models_list", text="", icon="FILE_REFRESH")
        side.operator("scumble.model_import", text="", icon="IMPORT")
        if lists.active < len(lists.models):
            model = SHELF.model(lists.models[lists.active].model_id)
            if model is not None:
                _draw_model(layout.box(), model)
        layout.label(text=f"{size_text(SHELF.listing.free)} free", icon="DISK_DRIVE", translate=False)


class SCUMBLE_PT_models_get(SidebarPanel, bpy.types.Panel):
    bl_label = "Get Models"
    bl_parent_id = "SCUMBLE_PT_models"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return SHELF.listing is not None and not verbs.why_not()

    def draw(self, context: bpy.types.Context) -> None:
        layout, listing = self.layout, SHELF.listing
        if reason := verbs.why_not_online():
            draw_text(layout, reason, "INTERNET_OFFLINE")
        layout.label(text="By graphics memory")
        for item in listing.sets:
            column = layout.column(align=True)
            row = column.split(factor=NAME_PART, align=True)
            row.enabled = not item.here
            row.label(text=f"{item.vram} GB", icon="CHECKMARK" if item.here else "PACKAGE", translate=False)
            row.operator("scumble.model_get", text="Here" if item.here else size_text(item.size)).target = item.id
            about = column.column(align=True)
            about.active = False
            draw_text(about, item.about, "BLANK1")
        column = layout.column(align=True)
        for model in listing.catalogue:
            _draw_offer(column, model)
        _draw_search(layout, context.window_manager.scumble_models)


class SCUMBLE_PT_models_folders(SidebarPanel, bpy.types.Panel):
    bl_label = "Model Folders"
    bl_parent_id = "SCUMBLE_PT_models"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return SHELF.listing is not None and not verbs.why_not()

    def draw(self, context: bpy.types.Context) -> None:
        _draw_folders(self.layout, SHELF.listing)


def _draw_note(layout: bpy.types.UILayout) -> None:
    if SHELF.note:
        draw_text(layout, SHELF.note, "ERROR" if SHELF.problems else "INFO")
    for problem in SHELF.problems:
        draw_text(layout, problem, "BLANK1")


def _draw_model(box: bpy.types.UILayout, model: ShelfModel) -> None:
    family = family_name(model.family) or ("any family" if model.kind == "encoder" else "family unknown")
    kind = f"{KINDS.get(model.kind, model.kind)}, {family}"
    box.label(text=f"{kind}, {size_text(model.size)}", translate=False)
    box.label(text=f"Licence: {model.licence or 'unknown'}", translate=False)
    if model.source:
        revision = f" @ {model.revision[:12]}" if model.revision else ""
        draw_text(box, f"{model.source}{revision}", "NONE")
    box.label(text=f"In {model.place}", translate=False)
    if model.reason:
        draw_text(box, model.reason, "ERROR")
    row = box.row(align=True)
    if model.state == "ready" and model.kind == "checkpoint":
        row.operator("scumble.model_use").model_id = model.id
    if model.state == "unfinished":
        row.operator("scumble.model_get", text="Go On", icon="IMPORT").target = model.id
        row.operator("scumble.model_drop", text="", icon="TRASH").model_id = model.id
    elif model.own:
        row.operator("scumble.model_verify").model_id = model.id
        row.operator("scumble.model_delete", text="", icon="TRASH").model_id = model.id


def _draw_offer(column: bpy.types.UILayout, model: CatalogueModel) -> None:
    row = column.split(factor=NAME_PART, align=True)
    row.active = model.runs
    row.label(text=model.name, icon="CHECKMARK" if model.here else "NONE", translate=False)
    button = row.row(align=True)
    button.enabled = not model.here
    button.operator("scumble.model_get", text=size_text(model.size)).target = model.id


def _draw_search(layout: bpy.types.UILayout, lists: SCUMBLE_PG_models) -> None:
    row = layout.row(align=True)
    row.prop(lists, "words", text="", placeholder="Search the hub", icon="VIEWZOOM")
    row.operator("scumble.models_search", text="", icon="URL")
    if lists.hits:
        layout.template_list("SCUMBLE_UL_hits", "", lists, "hits", lists, "active_hit", rows=ROWS)
        hit = next((hit for hit in SHELF.hits if hit.repo == lists.hits[lists.active_hit].model_id), None)
        if hit is not None:
            _draw_hit(layout.box(), hit)
    row = layout.row(align=True)
    row.prop(lists, "target", text="", placeholder="OWNER/NAME or address")
    row.operator("scumble.model_get", text="", icon="IMPORT").target = ""


def _draw_hit(box: bpy.types.UILayout, hit: SearchHit) -> None:
    kind = f"{KINDS.get(hit.kind, 'Kind unknown')}, {family_name(hit.family) or 'family unknown'}"
    box.label(text=f"{kind}, {hit.downloads:,} downloads", translate=False)
    box.label(text=f"Licence: {hit.licence or 'unknown'}", translate=False)
    if hit.gated:
        draw_text(box, "Accept its licence on its page first", "LOCKED")
    box.operator("scumble.model_get", icon="IMPORT").target = hit.repo


def _draw_folders(layout: bpy.types.UILayout, listing: LibraryListing) -> None:
    layout.label(text=f"Downloads go to {listing.library}", translate=False)
    for folder in listing.folders:
        row = layout.row(align=True)
        program = f"{folder.program}: " if folder.program else ""
        row.label(text=f"{program}{folder.path}", icon="FILE_FOLDER", translate=False)
        if not folder.added:
            row.operator("scumble.model_folder_add", text="", icon="ADD").directory = folder.path
        elif not folder.fixed:
            row.operator("scumble.model_folder_remove", text="", icon="REMOVE").directory = folder.path
    layout.operator("scumble.model_folder_add", icon="ADD").directory = ""


CLASSES = (
    SCUMBLE_UL_models,
    SCUMBLE_UL_hits,
    SCUMBLE_PT_models,
    SCUMBLE_PT_models_get,
    SCUMBLE_PT_models_folders,
)
