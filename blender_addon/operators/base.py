"""How operators tell of errors, and how they wait in background."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from scumble_shared.errors import ScumbleError

from .. import actions
from ..jobs import JobRecord, JobState
from ..state import session
from ..status import sentence

__all__ = ["WaitingOperator", "attempt"]


def attempt(operator: bpy.types.Operator, work: Callable[[], object]) -> set[str]:
    """FINISHED, or CANCELLED with the error reported and kept for the panel."""
    try:
        work()
    except ScumbleError as error:
        session().report(error.info)
        operator.report({"ERROR"}, sentence(error.info))
        return {"CANCELLED"}
    session().report(None)
    return {"FINISHED"}


class WaitingOperator:
    """Starts a job; with ``wait`` it returns when the result is applied, as background Blender needs."""

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the result is there, for scripts", default=False, options={"SKIP_SAVE"}
    )

    begin: Callable[[bpy.types.Context], JobRecord]
    """What the operator starts."""

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._work(context))

    def _work(self, context: bpy.types.Context) -> None:
        if self.wait:
            actions.connect_and_wait()
        record = self.begin(context)
        if self.wait and actions.wait(record.id).state is JobState.CANCELLED:
            self.report({"WARNING"}, "Cancelled")
