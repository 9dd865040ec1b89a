"""Variations, sheets, and taking one of their pictures."""

from __future__ import annotations

import time

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.sheets import NOTHING, Axis, parse_axis, variations

from .. import actions, pump
from ..operators.base import attempt
from ..prompting.taking import take_job
from ..state import session
from ..status import why_not_generate
from . import running

__all__ = ["CLASSES"]

PAUSE = 0.002


class SheetOperator:
    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the sheet is there, for scripts", default=False, options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not_generate(context.scene.scumble, context.scene.camera is not None)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def axes(self, context: bpy.types.Context, job: GenerateJob) -> tuple[Axis, Axis]:
        raise AssertionError("each button has its own")

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._work(context))

    def _work(self, context: bpy.types.Context) -> None:
        if self.wait:
            actions.connect_and_wait()
        sheet = running.start(context, lambda job: self.axes(context, job))
        while self.wait and running.current() is sheet and not sheet.image:
            pump.step()
            time.sleep(PAUSE)
        errors = [cell.error for cell in sheet.cells() if cell.error is not None]
        if errors:
            raise ScumbleError.from_info(errors[0])


class SCUMBLE_OT_variations(SheetOperator, bpy.types.Operator):
    """The same picture with the seeds that follow, all on one sheet to choose from"""

    bl_idname = "scumble.variations"
    bl_label = "Variations"

    def axes(self, context: bpy.types.Context, job: GenerateJob) -> tuple[Axis, Axis]:
        return variations(job, context.scene.scumble_sheet.count), NOTHING


class SCUMBLE_OT_sheet(SheetOperator, bpy.types.Operator):
    """The same view painted with every combination of two settings' values, side by side"""

    bl_idname = "scumble.sheet"
    bl_label = "Make Sheet"

    def axes(self, context: bpy.types.Context, job: GenerateJob) -> tuple[Axis, Axis]:
        sheet = context.scene.scumble_sheet
        return _axis(sheet.x, sheet.x_values), _axis(sheet.y, sheet.y_values)


class SCUMBLE_OT_sheet_cancel(bpy.types.Operator):
    """Stop the sheet; what is there already is put on it"""

    bl_idname = "scumble.sheet_cancel"
    bl_label = "Stop Sheet"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        sheet = running.current()
        return sheet is not None and not sheet.image

    def execute(self, context: bpy.types.Context) -> set[str]:
        for cell in running.current().cells():
            if not cell.ended:
                session().cancel(cell.job_id)
        return {"FINISHED"}


class SCUMBLE_OT_sheet_take(bpy.types.Operator):
    """Set the scene to what made this picture"""

    bl_idname = "scumble.sheet_take"
    bl_label = "Use Its Settings"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Picture", description="Of the sheet, row by row", min=0, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return running.current() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._take(context))

    def _take(self, context: bpy.types.Context) -> None:
        found = running.current().cells()
        if self.index >= len(found):
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"the sheet has {len(found)} pictures", field="index")
        take_job(context.scene, found[self.index].job, session().capabilities)


def _axis(kind: str, values: str) -> Axis:
    return NOTHING if kind == "none" else parse_axis(f"{kind}={values}")


CLASSES = (SCUMBLE_OT_variations, SCUMBLE_OT_sheet, SCUMBLE_OT_sheet_cancel, SCUMBLE_OT_sheet_take)
