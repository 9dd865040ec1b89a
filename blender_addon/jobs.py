"""What became of each job, as values: nothing in here points into Blender's data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from scumble_shared.camera import Camera, Matrix4
from scumble_shared.errors import ErrorInfo
from scumble_shared.job import Job
from scumble_shared.tensor import AnyArray, Digest

__all__ = ["JobRecord", "JobRegistry", "JobState", "MeshTarget", "SeenObject", "Target"]

REMEMBERED = 8
"""Jobs that are kept after their end, with their buffers and pictures."""


class JobState(StrEnum):
    WAITING = "waiting"  # for a connection, or in the server's queue
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class MeshTarget:
    """An object that gets a texture. name: in the job and its results. uv_map: the map it was sent with.

    complete: the texture holds what was there before, too, where the view doesn't see.
    """

    name: str
    session_uid: int
    uv_map: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class SeenObject:
    """An object that was visible in a captured view, and where it stood."""

    id: int
    name: str
    session_uid: int
    matrix_world: Matrix4


@dataclass(frozen=True, slots=True)
class Target:
    """Where a result goes. scene_uid: ``session_uid`` of the scene, stable over undo, gone with the file.

    actions: names of ``properties.RESULT_ACTIONS``. from_camera: the scene's camera was captured, not a viewport.
    meshes: what a texture is for. objects: what was visible, by its value in the id buffer. locks: which views of a
    texture the artist keeps, whatever a job holds still. live: a frame of live mode, which looks after it by itself:
    nothing is applied, panels don't tell of it. note: to be said of the job from the first. about: what else the
    applier of a kind of result must know; by its class the applier is found (:data:`apply.results.appliers`).
    """

    scene_uid: int
    camera: Camera | None = None
    from_camera: bool = False
    actions: frozenset[str] = frozenset()
    meshes: tuple[MeshTarget, ...] = ()
    objects: tuple[SeenObject, ...] = ()
    locks: tuple[bool, ...] = ()
    live: bool = False
    note: str = ""
    about: Any = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """fraction: of the whole job in [0, 1], None while unknown. eta: seconds left, None while unknown.

    job, tensors: by stand-ins until the network thread has hashed the tensors, by content address from then on, and
    kept for a later job about the same view. Of a frame of live mode the view's buffers keep their stand-ins.
    digests: content addresses of the results by name, for later jobs. prepared: what the network thread made of
    them. provenance: JSON text. note: what happened to the result, for the artist.
    """

    id: str
    job: Job
    target: Target
    state: JobState = JobState.WAITING
    position: int = 0
    stage: str = ""
    step: int = 0
    steps: int = 0
    fraction: float | None = None
    eta: float | None = None
    error: ErrorInfo | None = None
    digests: Mapping[str, Digest] = field(default_factory=dict)
    prepared: Any = None
    provenance: str = "{}"
    tensors: Mapping[Digest, AnyArray] = field(default_factory=dict)
    note: str = ""


class JobRegistry:
    """Records by id, oldest first. Records are replaced, never changed, so another thread may read them."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, JobRecord] = OrderedDict()

    def add(self, record: JobRecord) -> None:
        self._records[record.id] = record
        ended = [known.id for known in self._records.values() if known.state.ended]
        for job_id in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._records[job_id]

    def remove(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._records.pop(job_id, None)

    def get(self, job_id: str) -> JobRecord | None:
        return self._records.get(job_id)

    def update(self, job_id: str, **changes: Any) -> JobRecord | None:
        """The changed record; None for an unknown job, or one that has ended."""
        record = self._records.get(job_id)
        if record is None or record.state.ended:
            return None
        record = replace(record, **changes)
        self._records[job_id] = record
        return record

    def annotate(self, job_id: str, note: str) -> None:
        """Say what happened to a result, after what was said of it before."""
        if (record := self._records.get(job_id)) is not None and note not in record.note:
            self._records[job_id] = replace(record, note="; ".join(filter(None, (record.note, note))))

    def lighten(self, job_id: str) -> None:
        """Let go of a job's pictures and buffers; all else is still known."""
        if (record := self._records.get(job_id)) is not None:
            self._records[job_id] = replace(record, prepared={}, tensors={})

    def live(self) -> tuple[JobRecord, ...]:
        return tuple(record for record in self._records.values() if not record.state.ended)

    def all(self) -> tuple[JobRecord, ...]:
        return tuple(self._records.values())

    def latest(self, state: JobState, kind: type = object) -> JobRecord | None:
        """The youngest record of a state whose job is a ``kind`` and about nothing special."""
        for record in reversed(self._records.values()):
            if record.state is state and isinstance(record.job, kind) and record.target.about is None:
                return record
        return None

    def clear(self) -> None:
        self._records.clear()
