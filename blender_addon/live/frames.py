"""One look at the scene for live mode: the job of what is to be seen now, and what is needed to draw its picture."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.job import GenerateJob, tensors_of, with_tensors
from scumble_shared.messages import Capabilities

from .. import capture, request
from .adapt import Quality
from .watch import Place

__all__ = ["Frame", "at_place", "look", "same"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """depth: float32 h x w, planar, top row first. surfaces: to draw the picture on; none where nothing can draw."""

    request: request.Request
    depth: NDArray[np.float32]
    surfaces: tuple[capture.DrawnSurface, ...]

    @property
    def job(self) -> GenerateJob:
        return self.request.job

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


def look(context: bpy.types.Context, capabilities: Capabilities, quality: Quality) -> Frame:
    """Captures what is to be seen now. Raises ScumbleError SCENE when there is nothing.

    The scene's seed holds, locked or not: the noise stays where it is, on the screen or on the surfaces.
    """
    settings = context.scene.scumble
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
    )
    made = replace(made, target=replace(made.target, live=True))
    return Frame(made, made.tensors[made.job.view.depth], capture.drawn_surfaces())


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
