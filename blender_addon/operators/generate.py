"""Generate and cancel."""

from __future__ import annotations

import bpy
from scumble_shared.job import LibraryJob

from .. import actions
from ..jobs import JobRecord
from ..state import session
from ..status import why_not_generate
from .base import WaitingOperator

__all__ = ["CLASSES"]


class SCUMBLE_OT_generate(WaitingOperator, bpy.types.Operator):
    """Make a picture of what is seen, by the prompt and the controls"""

    bl_idname = "scumble.generate"
    bl_label = "Generate"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not_generate(context.scene.scumble, context.scene.camera is not None)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def begin(self, context: bpy.types.Context) -> JobRecord:
        return actions.start(context)


class SCUMBLE_OT_cancel(bpy.types.Operator):
    """Stop what is being made, or a download; takes effect within one step"""

    bl_idname = "scumble.cancel"
    bl_label = "Cancel"

    job_id: bpy.props.StringProperty(name="Job", description="Empty for all pictures", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(session().jobs.live())

    def execute(self, context: bpy.types.Context) -> set[str]:
        for record in session().jobs.live():
            if self.job_id == record.id or (not self.job_id and not isinstance(record.job, LibraryJob)):
                session().cancel(record.id)
        return {"FINISHED"}


CLASSES = (SCUMBLE_OT_generate, SCUMBLE_OT_cancel)
