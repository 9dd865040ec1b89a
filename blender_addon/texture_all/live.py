"""What is drawn over the objects: where views stand and what they see, and the texture while it forms.

The scene isn't touched: all of it is drawn by shaders of our own, and gone when the result is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.job import TextureJob
from scumble_shared.placement import sheet_columns

from ..jobs import JobRecord
from ..preferences import preferences
from ..state import session
from .draw import Drawing
from .planning import Plan

__all__ = [
    "begun_only",
    "clear",
    "clear_coverage",
    "coverage_plan",
    "forget",
    "register",
    "remember",
    "show_coverage",
    "show_preview",
    "unregister",
]

REMEMBERED = 4
"""Plans of jobs that may still send previews."""


@dataclass(slots=True)
class _Shown:
    """job_id: whose preview it is, "" for coverage. drawing: made at the first redraw, as it needs the GPU."""

    plan: Plan
    job_id: str = ""
    pixels: NDArray[np.float32] | None = None
    drawing: Drawing | None = None


@dataclass(slots=True)
class _State:
    shown: _Shown | None = None
    plans: dict[str, Plan] = field(default_factory=dict)


_state = _State()
_handle: object = None


def show_coverage(plan: Plan) -> None:
    """The plan's cameras, and in colours how well each part of the surface is seen."""
    _state.shown = _Shown(plan)


def coverage_plan() -> Plan | None:
    """The plan whose coverage is shown."""
    shown = _state.shown
    return shown.plan if shown is not None and not shown.job_id else None


def clear_coverage() -> None:
    """Coverage is no longer shown; previews are."""
    if coverage_plan() is not None:
        _state.shown = None


def remember(job_id: str, plan: Plan) -> None:
    """Previews of this job can be shown."""
    _state.plans[job_id] = plan
    for old in list(_state.plans)[:-REMEMBERED]:
        del _state.plans[old]


def show_preview(record: JobRecord, pixels: object) -> None:
    """pixels: float32 h x w x 4, bottom row first: all views side by side, as they are by now."""
    plan = _plan_of(record)
    if plan is None or not isinstance(pixels, np.ndarray) or not preferences().show_previews:
        return
    if _state.shown is None or _state.shown.job_id != record.id:
        _state.shown = _Shown(plan, record.id)
    _state.shown.pixels = begun_only(record, pixels)


def begun_only(record: JobRecord, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sheet with alpha 0 for views that wait for their turn, where they are made one by one."""
    job: TextureJob = record.job
    if job.method != "sequential" or not record.steps:
        return pixels
    free = [index for index, view in enumerate(job.views) if view.image is None]
    waiting = free[(record.step - 1) * len(free) // record.steps + 1 :]
    camera = job.views[0].camera
    columns = sheet_columns(len(job.views), camera.width, camera.height)
    rows = -(-len(job.views) // columns)
    sheet = pixels.copy()
    height, width = sheet.shape[0] // rows, sheet.shape[1] // columns
    for index in waiting:
        row, column = divmod(index, columns)
        below = (rows - 1 - row) * height
        sheet[below : below + height, column * width : (column + 1) * width, 3] = 0.0
    return sheet


def forget(job_id: str) -> None:
    """The job has ended."""
    _state.plans.pop(job_id, None)
    if _state.shown is not None and _state.shown.job_id == job_id:
        _state.shown = None


def clear() -> None:
    _state.shown = None
    _state.plans.clear()


def _plan_of(record: JobRecord) -> Plan | None:
    """Also of a job that is done again: the same cameras make the same plan."""
    job = record.job
    if record.id in _state.plans:
        return _state.plans[record.id]
    if not isinstance(job, TextureJob):
        return None
    cameras = tuple(view.camera for view in job.views)
    return next((plan for plan in _state.plans.values() if plan.cameras == cameras), None)


def _draw() -> None:
    shown, view = _state.shown, bpy.context.region_data
    if shown is None or view is None:
        return
    if shown.job_id:
        record = session().jobs.get(shown.job_id)
        if record is None or record.state.ended:
            forget(shown.job_id)
            return
    if not _stands(shown.plan):
        return
    if shown.drawing is None:
        shown.drawing = Drawing(shown.plan)
    if shown.pixels is not None:
        shown.drawing.set_preview(shown.pixels)
        shown.pixels = None
    shown.drawing.draw(np.array(view.view_matrix), np.array(view.window_matrix), shaded=bool(shown.job_id))


def _stands(plan: Plan) -> bool:
    """Whether all objects are shown where they were looked at."""
    wanted = {mesh.session_uid: mesh.matrix_world for mesh in plan.wish.meshes}
    found = 0
    for thing in bpy.context.view_layer.objects:  # just after one was removed, its place holds None
        matrix = None if thing is None else wanted.get(thing.session_uid)
        if matrix is None:
            continue
        if not thing.visible_get() or not np.allclose(np.array(thing.matrix_world).ravel(), matrix, atol=1e-5):
            return False
        found += 1
    return found == len(wanted)


def register() -> None:
    global _handle
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    global _handle
    bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = None
    clear()
