"""A job, fitted into the machine's memory before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from scumble_shared.job import GenerateJob, TextureJob, UpscaleJob

from ...memory.machine import Bytes, Machine
from ...memory.plan import Plan, Work, estimate, lower, plan_for
from ...memory.sizes import PUBLISHED, Sizes, size_of, sizes_of
from ...models.entries import AdapterEntry, ControlNetEntry, EncoderEntry, ModelEntry
from ...models.safetensors_header import BadFileError
from ..device import Device
from ..needed import Needed
from .fit import Fit

__all__ = ["Fitter"]


TOLD_GUIDANCE = ("flux",)
"""Families whose networks are told the guidance scale, and run once."""

AUTOMATIC_VIEWS, WINDOWS = 8, 8
"""How many views are placed at most where a job has none of its own, about; and windows of a large picture that are
shown at once."""


@dataclass(slots=True)
class Fitter:
    """Of one device. Sizes are told by the files' headers, which are read once for each model."""

    machine: Machine
    device: Device
    _sizes: dict[tuple[Path, Path | None], Sizes] = field(default_factory=dict)
    _others: dict[ControlNetEntry | AdapterEntry | EncoderEntry, int] = field(default_factory=dict)

    def fit(self, needed: Needed, job: GenerateJob | TextureJob | UpscaleJob) -> Fit:
        sizes, work = self._sizes_of(needed.entry), self._work(needed, job)
        return self._fit(plan_for(sizes, work, self.machine, job.memory), sizes, work)

    def lower(self, fit: Fit) -> Fit | None:
        """The same with less memory, None if nothing more can be done."""
        plan = lower(fit.plan, fit.sizes, fit.work, self.machine)
        return None if plan is None else self._fit(plan, fit.sizes, fit.work)

    def _fit(self, plan: Plan, sizes: Sizes, work: Work) -> Fit:
        found = estimate(sizes, work, self.machine, plan)
        alone = replace(work, controlnets=(), adapters=())
        without = estimate(sizes, alone, self.machine, plan).weights

        def more(work: Work) -> Bytes:
            weights = estimate(sizes, work, self.machine, plan).weights
            return Bytes(weights.device - without.device, weights.ram - without.ram)

        encoder = work.encoder * work.bytes_each
        return Fit(
            plan,
            found,
            sizes,
            work,
            without,
            tuple(more(replace(alone, controlnets=(net,))) for net in work.controlnets),
            tuple(more(replace(alone, adapters=(adapter,))) for adapter in work.adapters),
            Bytes(0, encoder) if self.machine.is_apart else Bytes(encoder, 0),
        )

    def _sizes_of(self, entry: ModelEntry) -> Sizes:
        """Of what can't be read nothing is known; that it can't is told when it is loaded."""
        key = (entry.path, entry.lender)
        if key not in self._sizes:
            try:
                self._sizes[key] = sizes_of(entry)
            except BadFileError:
                nothing = PUBLISHED.get(entry.family, PUBLISHED["sd15"])
                return replace(nothing, network=0, text=0, vae=0, largest=0)
        return self._sizes[key]

    def _size_of(self, entry: ControlNetEntry | AdapterEntry | EncoderEntry) -> int:
        if entry not in self._others:
            try:
                self._others[entry] = size_of(entry)
            except BadFileError:
                return 0
        return self._others[entry]

    def _work(self, needed: Needed, job: GenerateJob | TextureJob | UpscaleJob) -> Work:
        width, height, images = _size(job)
        return Work(
            width,
            height,
            images,
            guided=job.guidance_scale > 1.0 and needed.entry.family not in TOLD_GUIDANCE,
            controlnets=tuple(self._size_of(net) for net in dict.fromkeys(needed.nets)),
            adapters=tuple(self._size_of(one) for one in dict.fromkeys(needed.adapters)),
            encoder=max((self._size_of(one.encoder) for one in needed.adapters if one.encoder), default=0),
            bytes_each=self.device.dtype.itemsize,
        )


def _size(job: GenerateJob | TextureJob | UpscaleJob) -> tuple[int, int, int]:
    """Width and height of what the network is shown, and how many of them."""
    if isinstance(job, GenerateJob):
        return job.width, job.height, job.batch_size
    if isinstance(job, UpscaleJob):
        return job.tile_size, job.tile_size, WINDOWS
    side = job.refine_scale if job.refine_strength > 0.0 else 1.0
    camera = job.views[0].camera if job.views else None
    width, height = (job.view_size, job.view_size) if camera is None else (camera.width, camera.height)
    count = len([view for view in job.views if view.image is None]) if job.views else AUTOMATIC_VIEWS
    return round(width * side), round(height * side), max(1, count) if job.method == "synchronised" else 1
