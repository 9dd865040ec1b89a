"""One look at the scene for live mode: the job of what is to be seen now, and what is needed to draw its picture."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.job import GenerateJob, tensors_of, with_tensors
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest, digest_of

from .. import capture, request
from ..connection.addressing import addressed
from ..jobs import JobRecord
from .adapt import Quality
from .watch import Place

__all__ = ["Frame", "at_place", "look", "same", "with_addresses", "with_spare"]

CAPTURED = ("normal", "object_id")
"""Buffers of a view beside its depth, which is always of use."""

READ_BY: Mapping[str, tuple[str, ...]] = {
    "depth": (),
    "normal": ("normal",),
    "segmentation": ("object_id",),
    "openpose": (),
    "tile": (),
    "color": (),
}
"""By kind of control; other kinds read all there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """depth: float32 h x w, planar, top row first. surfaces: to draw the picture on; none where nothing can draw.
    spare: buffers of the view that its controls don't read and the server isn't sent, by the view's field.
    """

    request: request.Request
    spare: Mapping[str, AnyArray]
    depth: NDArray[np.float32]
    surfaces: tuple[capture.DrawnSurface, ...]

    @property
    def job(self) -> GenerateJob:
        return self.request.job

    @property
    def precise(self) -> bool:
        """Whether the server gets its buffers as they are."""
        normal = self.request.tensors.get(self.job.view.normal)
        return normal is None or normal.dtype != np.uint8

    @property
    def captured(self) -> frozenset[Digest]:
        """Names of the buffers that are of this frame alone."""
        view = self.job.view
        return frozenset(name for name in (view.depth, view.normal, view.object_id, view.color) if name is not None)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Where there is an object."""
        return np.isfinite(self.depth)


def at_place(place: Place | None) -> AbstractContextManager[object]:
    """The context of a viewport, for what reads it from ``bpy.context``."""
    if place is None:
        return nullcontext()
    window, area, region = place
    return bpy.context.temp_override(window=window, area=area, region=region)


def look(context: bpy.types.Context, capabilities: Capabilities, quality: Quality, *, precise: bool = True) -> Frame:
    """Captures what is to be seen now. Raises ScumbleError SCENE when there is nothing.

    precise: otherwise normals may have 8 bits, where no control looks for edges in them.

    The scene's seed holds, locked or not: the noise stays where it is, on the screen or on the surfaces.
    """
    settings = context.scene.scumble
    precise = precise or any(control.enabled and control.kind not in READ_BY for control in settings.controls)
    made = request.generation(
        context,
        capabilities,
        seed=settings.seed,
        width=quality.width,
        height=quality.height,
        num_inference_steps=quality.steps,
        decoder=quality.decoder,
        batch_size=1,
        noise_anchor=settings.live.noise,
        result_actions=(),
        fresh=False,
        precise=precise,
    )
    depth = made.tensors[made.job.view.depth]
    spared = _spared(made.job)
    view = replace(made.job.view, **dict.fromkeys(spared))
    left = {name: array for name, array in made.tensors.items() if name not in spared.values()}
    spare = {field: made.tensors[name] for field, name in spared.items()}
    made = replace(made, job=replace(made.job, view=view), tensors=left, target=replace(made.target, live=True))
    return Frame(made, spare, depth, capture.drawn_surfaces())


def with_addresses(record: JobRecord) -> JobRecord:
    """A finished frame whose job names everything by content, as any other job does. A few milliseconds."""
    job, tensors = addressed(record.job, record.tensors)
    return replace(record, job=job, tensors=tensors)


def with_spare(record: JobRecord, spare: Mapping[str, AnyArray]) -> JobRecord:
    """A finished frame whose view has all that was captured, for what goes on from it."""
    names = {field: digest_of(array) for field, array in spare.items()}
    tensors = {**record.tensors, **{names[field]: array for field, array in spare.items()}}
    return replace(record, job=replace(record.job, view=replace(record.job.view, **names)), tensors=tensors)


def _spared(job: GenerateJob) -> dict[str, Digest]:
    """What of the view no control and no region reads, by field."""
    seen = [control for control in job.controls if control.image is None]
    read = {field for control in seen for field in READ_BY.get(control.kind, CAPTURED)}
    if job.regions:
        read.add("object_id")
    return {field: name for field in CAPTURED if field not in read and (name := getattr(job.view, field))}


def same(first: Frame, second: Frame) -> bool:
    """Whether both ask for the same picture: the jobs are equal but for the names of their buffers, and those are."""
    names = [tuple(dict.fromkeys(tensors_of(frame.job))) for frame in (first, second)]
    if len(names[0]) != len(names[1]):
        return False
    jobs = [
        with_tensors(frame.job, {name: str(number) for number, name in enumerate(own)})
        for frame, own in zip((first, second), names, strict=True)
    ]
    return jobs[0] == jobs[1] and all(
        np.array_equal(first.request.tensors[one], second.request.tensors[other])
        for one, other in zip(*names, strict=True)
    )
