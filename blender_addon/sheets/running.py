"""Sheets on their way: their jobs, and what came of each. Main thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorInfo
from scumble_shared.job import GenerateJob
from scumble_shared.sheet_picture import sheet_picture
from scumble_shared.sheets import Axis, cells

from .. import request
from ..apply import results
from ..apply.images import PROVENANCE
from ..jobs import JobRecord, JobState
from ..png import png_bytes
from ..runtime import ensure_connection
from ..state import session
from ..words import with_final_words

__all__ = ["Cell", "Sheet", "clear", "current", "follow", "start"]

TITLE_LENGTH = 160


@dataclass(slots=True)
class Cell:
    """picture: uint8 H x W x 3, None until it is there. record: the picture's provenance, JSON."""

    job: GenerateJob
    job_id: str = ""
    picture: NDArray[np.uint8] | None = None
    record: str = ""
    error: ErrorInfo | None = None
    ended: bool = False


@dataclass(slots=True)
class Sheet:
    """rows: of cells. image: name of the image in Blender, once all have ended."""

    x: Axis
    y: Axis
    title: str
    rows: list[list[Cell]] = field(default_factory=list)
    image: str = ""

    def cells(self) -> list[Cell]:
        return [cell for row in self.rows for cell in row]

    @property
    def done(self) -> int:
        return sum(cell.ended for cell in self.cells())


_sheet: Sheet | None = None


def current() -> Sheet | None:
    """The sheet that was begun last."""
    return _sheet


def clear() -> None:
    """Forget it; jobs that go on are cancelled."""
    global _sheet
    if _sheet is not None:
        for cell in _sheet.cells():
            results.gatherers.pop(cell.job_id, None)
            if cell.job_id and not cell.ended:
                session().cancel(cell.job_id)
    _sheet = None


def start(context: bpy.types.Context, axes: Callable[[GenerateJob], tuple[Axis, Axis]]) -> Sheet:
    """Begin a sheet of what is seen now. axes: given the job as it was written, what of it is varied.

    Raises ScumbleError SCENE, or INVALID_FIELD for what can't be varied.
    """
    global _sheet
    made = request.generation(context, session().capabilities, as_written=True)
    x, y = axes(made.job)
    target = replace(made.target, actions=frozenset())
    words = made.job.prompt[:TITLE_LENGTH]
    begun = Sheet(x, y, f"{words}, {made.job.model}, seed {made.job.seed}")
    begun.rows = [[Cell(with_final_words(job)) for job in row] for row in cells(made.job, x, y)]
    clear()
    for cell in begun.cells():
        cell.job_id = session().submit(cell.job, made.tensors, target, previews=False).id
        results.gatherers[cell.job_id] = lambda record, cell=cell: _gather(cell, record)
    _sheet = begun
    ensure_connection()
    return begun


def _gather(cell: Cell, record: JobRecord) -> None:
    picture = next(iter(record.prepared.values()))
    cell.picture, cell.record, cell.ended = np.asarray(picture.pixels), picture.record, True


def follow() -> None:
    """Called in every turn of the pump: notices jobs that ended otherwise, and the last one."""
    sheet = _sheet
    if sheet is None or sheet.image:
        return
    for cell in sheet.cells():
        record = session().jobs.get(cell.job_id)
        if not cell.ended and (record is None or record.state in (JobState.FAILED, JobState.CANCELLED)):
            cell.ended, cell.error = True, record.error if record is not None else None
            results.gatherers.pop(cell.job_id, None)
    if sheet.done == len(sheet.cells()):
        _finish(sheet)


def _finish(sheet: Sheet) -> None:
    """One image of all, packed into the file; none if nothing came."""
    pictures = [[cell.picture for cell in row] for row in sheet.rows]
    if not any(cell.picture is not None for cell in sheet.cells()):
        clear()
        return
    whole = sheet_picture(pictures, sheet.x, sheet.y, sheet.title)
    png = png_bytes(whole)
    image = bpy.data.images.new("Scumble Sheet", 1, 1)
    image.pack(data=png, data_len=len(png))
    image.source = "FILE"
    image[PROVENANCE] = next(cell.record for cell in sheet.cells() if cell.record)
    image.use_fake_user = True
    sheet.image = image.name
    results.undo_step("Scumble: Sheet")
    session().changes += 1
