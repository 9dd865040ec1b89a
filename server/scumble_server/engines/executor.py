"""What both executors share: control images and textures are made here, pictures over there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import ControlImagesJob, GenerateJob, Job, ProjectJob
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from ..service import JobHooks, Output
from .listing import Listing
from .pictures import control_pictures

__all__ = ["ForeignExecutor", "Painter"]


class Painter(Protocol):
    """One other program."""

    name: str

    def listing(self) -> Listing:
        """What it has now. Raises ScumbleError SERVER_UNREACHABLE."""

    def paint(
        self, job: GenerateJob, listing: Listing, tensors: Mapping[Digest, AnyArray], hooks: JobHooks
    ) -> list[AnyArray]:
        """The job's images, uint8 height x width x 3. Raises ScumbleError, JobCancelled."""


class ForeignExecutor:
    """Implements :class:`scumble_server.service.Executor`."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._listing: Listing | None = None

    def capabilities(self) -> Capabilities:
        """While the program is away nothing is known of it, and a job is told why it can't be done."""
        try:
            self._listing = self._painter.listing()
        except ScumbleError:
            return Capabilities(device=f"{self._painter.name} isn't ready")
        return self._listing.capabilities()

    def look_for_models(self) -> None:
        self._listing = None

    def warm_up(self, hooks: JobHooks) -> None:
        """The program loads its models itself."""

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        hooks.check_cancelled()
        if isinstance(job, GenerateJob):
            return self._generate(job, tensors, hooks)
        if isinstance(job, ControlImagesJob):
            pictures = control_pictures(job, tensors)
            return Output({f"control/{index}": picture for index, picture in enumerate(pictures)}, {})
        if isinstance(job, ProjectJob):
            from ..texturing.project import run_project

            return run_project(job, tensors, "cpu", hooks)
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{self._painter.name} can't do this; it paints pictures",
            field="job.task",
            remedy=Remedy("Start the server with its own engine: scumble serve"),
        )

    def _generate(self, job: GenerateJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        self._check(job)
        began = time.perf_counter()
        if self._listing is None:
            self._listing = self._painter.listing()
        images = self._painter.paint(job, self._listing, tensors, hooks)
        facts = {
            "device": self._painter.name,
            "versions": {"scumble": __version__},
            "timings": {"painting": round(time.perf_counter() - began, 4)},
        }
        return Output({f"image/{index}": image for index, image in enumerate(images)}, facts)

    def _check(self, job: GenerateJob) -> None:
        """What only our own engine can do is refused, not left out."""
        for name, asked in (
            ("noise_anchor", job.noise_anchor != "screen"),
            ("tiling", bool(job.tiling)),
            ("maps", bool(job.maps)),
            ("regions", bool(job.regions)),
        ):
            if asked:
                message = f"{self._painter.name} can't be asked for {name.replace('_', ' ')}"
                remedy = Remedy("Switch it off, or use Scumble's own engine")
                raise ScumbleError(ErrorCode.UNSUPPORTED, message, field=f"job.{name}", remedy=remedy)
