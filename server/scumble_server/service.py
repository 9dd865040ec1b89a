"""The seams of the server: what the network edge may ask of the queue, and the queue of the work itself.

    net (guard, sessions)  --JobService-->  workers (queue, supervisor, store)  --Executor-->  engine, texturing

``JobService`` lives in the server process and never imports torch. ``Executor`` lives in a worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scumble_shared.errors import ErrorInfo
from scumble_shared.job import AnyJob, Job
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

__all__ = [
    "Executor",
    "JobCancelled",
    "JobCancelledUpdate",
    "JobFailedUpdate",
    "JobHooks",
    "JobPreviewUpdate",
    "JobProgressUpdate",
    "JobResultUpdate",
    "JobService",
    "JobStartedUpdate",
    "JobUpdate",
    "Output",
]


@dataclass(frozen=True, slots=True)
class JobStartedUpdate:
    pass


@dataclass(frozen=True, slots=True)
class JobProgressUpdate:
    stage: str
    step: int = 0
    steps: int = 0
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class JobPreviewUpdate:
    """image: uint8 H x W x 3."""

    image: AnyArray
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class JobResultUpdate:
    """tensors: by result name. provenance: JSON text. digests: content address of each tensor, by the same names;
    the store keeps the tensors under them, so that a later job can refer to a result. None, or "", for a job with
    one-off tensors."""

    tensors: Mapping[str, AnyArray]
    provenance: str
    digests: Mapping[str, Digest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobFailedUpdate:
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class JobCancelledUpdate:
    pass


JobUpdate = (
    JobStartedUpdate | JobProgressUpdate | JobPreviewUpdate | JobResultUpdate | JobFailedUpdate | JobCancelledUpdate
)
"""What happens to a job after it was accepted. The last three are final; nothing follows them."""


class JobService(Protocol):
    """Queue, scheduler and tensor store as the network edge sees them. All calls on the event-loop thread."""

    def capabilities(self) -> Capabilities:
        """Models, samplers, tasks and device; cheap, never waits for the worker."""

    async def look_for_models(self) -> None:
        """Find out which models there are by now; when it returns, :meth:`capabilities` knows."""

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the event-loop thread whenever :meth:`capabilities` differs from before."""

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those of ``digests`` that aren't stored (any longer)."""

    def put(self, digest: Digest, array: AnyArray) -> None:
        """Store a tensor whose digest was verified. Raises ScumbleError TOO_LARGE if it can't ever fit."""

    def submit(
        self, job_id: str, job: AnyJob, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int:
        """Queue a validated job whose tensors are all stored; jobs ahead of it are returned.

        previews: False spares the worker the decoding of pictures nobody looks at.
        Progress may come before the start, while the worker still loads its model.
        ``emit`` is called on the event-loop thread for every update, and never again after a final one.
        Raises ScumbleError BUSY over ``limits.queued_jobs`` for one owner.
        """

    def cancel(self, job_id: str) -> bool:
        """Ask for a queued or running job to end; False if it isn't known or has ended."""


class JobCancelled(Exception):
    """Raised by :meth:`JobHooks.check_cancelled` to unwind the work; never an error."""


class JobHooks(Protocol):
    """How running work talks back. Cheap enough to call each step."""

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None: ...

    def wants_preview(self) -> bool:
        """False while nobody looks or the last preview hasn't left yet: skip the decode."""

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        """image: uint8 H x W x 3."""

    def check_cancelled(self) -> None:
        """Raises JobCancelled. Call at least once per denoise step and between tiles."""


@dataclass(frozen=True, slots=True)
class Output:
    """tensors: by result name (see the job's docstring). provenance: JSON-able facts about how it was made."""

    tensors: Mapping[str, AnyArray]
    provenance: Mapping[str, object]


class Executor(Protocol):
    """Does the work of one device. Lives in a worker process; one call at a time."""

    def capabilities(self) -> Capabilities: ...

    def look_for_models(self) -> None:
        """Find out which models there are by now. Called between jobs."""

    def warm_up(self, hooks: JobHooks) -> None:
        """Load the default model so that the first job doesn't wait for it."""

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        """Raises ScumbleError for what the user can mend, JobCancelled when told to stop."""
