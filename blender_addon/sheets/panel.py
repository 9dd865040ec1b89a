"""What to compare, how far it is, and buttons for each picture."""

from __future__ import annotations

import bpy

from ..panels.main import SidebarPanel
from . import running
from .running import Sheet

__all__ = ["CLASSES"]

BUTTONS = 16
"""Most pictures that get a button; of larger sheets the file itself is looked at."""


class SCUMBLE_PT_sheet(SidebarPanel, bpy.types.Panel):
    bl_label = "Compare"
    bl_parent_id = "SCUMBLE_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, wanted = self.layout, context.scene.scumble_sheet
        row = layout.row(align=True)
        row.prop(wanted, "count", text="")
        row.operator("scumble.variations", icon="DUPLICATE")
        column = layout.column(align=True)
        for axis in ("x", "y"):
            line = column.row(align=True)
            line.prop(wanted, axis, text="")
            values = line.row(align=True)
            values.enabled = getattr(wanted, axis) != "none"
            values.prop(wanted, f"{axis}_values", text="")
        layout.operator("scumble.sheet", icon="MESH_GRID")
        sheet = running.current()
        if sheet is not None:
            _draw_sheet(layout, sheet)


def _draw_sheet(layout: bpy.types.UILayout, sheet: Sheet) -> None:
    found = sheet.cells()
    if not sheet.image:
        line = layout.row(align=True)
        line.progress(factor=sheet.done / len(found), text=f"{sheet.done} of {len(found)}")
        line.operator("scumble.sheet_cancel", text="", icon="CANCEL")
        return
    layout.label(text=sheet.image, icon="IMAGE_DATA", translate=False)
    if len(found) > BUTTONS:
        return
    across, down = sheet.x.labels(), sheet.y.labels()
    grid = layout.grid_flow(row_major=True, columns=min(len(across), 4), even_columns=True, align=True)
    for index, cell in enumerate(found):
        row, column = divmod(index, len(across))
        text = ", ".join(part for part in (across[column], down[row] if len(down) > 1 else "") if part)
        button = grid.row()
        button.enabled = cell.picture is not None
        button.operator("scumble.sheet_take", text=text, translate=False).index = index


CLASSES = (SCUMBLE_PT_sheet,)
