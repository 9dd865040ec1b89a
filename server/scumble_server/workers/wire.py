"""What the server and its worker process say to each other, and how it crosses the pipe.

One message is a JSON header, and one raw blob per tensor: in a ring of shared memory if it is large and there is room,
after the header in the pipe otherwise; never pickle. Both ends are the same program, so nothing is negotiated and a
malformed message is a bug.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from scumble_shared.errors import ErrorInfo
from scumble_shared.job import Job
from scumble_shared.messages import Capabilities
from scumble_shared.schema import decode, encode
from scumble_shared.tensor import AnyArray, Digest

from .ring import Ring

__all__ = [
    "RING_BYTES",
    "CancelWork",
    "Line",
    "LookForModels",
    "PreviewTaken",
    "StartFailed",
    "StopWorker",
    "ToServer",
    "ToWorker",
    "WarmedUp",
    "Work",
    "WorkCancelled",
    "WorkFailed",
    "WorkPreview",
    "WorkProgress",
    "WorkResult",
    "WorkerReady",
]


@dataclass(frozen=True, slots=True)
class Work:
    """Do this job now. digests: of the tensors that follow, in their order."""

    job_id: str
    job: Job
    digests: tuple[Digest, ...] = ()
    previews: bool = True
    type: Literal["work"] = "work"


@dataclass(frozen=True, slots=True)
class CancelWork:
    job_id: str
    type: Literal["cancel_work"] = "cancel_work"


@dataclass(frozen=True, slots=True)
class LookForModels:
    """The models aren't those of the last look: the jobs that follow may name others."""

    type: Literal["look_for_models"] = "look_for_models"


@dataclass(frozen=True, slots=True)
class PreviewTaken:
    """The last preview has been passed on; another may come."""

    type: Literal["preview_taken"] = "preview_taken"


@dataclass(frozen=True, slots=True)
class StopWorker:
    type: Literal["stop_worker"] = "stop_worker"


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The executor is built; it warms up next."""

    capabilities: Capabilities
    type: Literal["worker_ready"] = "worker_ready"


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """Work can be sent. error: why the default model couldn't be loaded ahead of time."""

    error: ErrorInfo | None = None
    type: Literal["warmed_up"] = "warmed_up"


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The executor couldn't be built; the process ends."""

    error: ErrorInfo
    type: Literal["start_failed"] = "start_failed"


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """job_id: "" while warming up."""

    job_id: str
    stage: str
    step: int = 0
    steps: int = 0
    fraction: float | None = None
    type: Literal["work_progress"] = "work_progress"


@dataclass(frozen=True, slots=True)
class WorkPreview:
    """One tensor follows."""

    job_id: str
    step: int
    steps: int
    type: Literal["work_preview"] = "work_preview"


@dataclass(frozen=True, slots=True)
class WorkResult:
    """names, digests: of the tensors that follow, in their order; a digest may be "". provenance: JSON text."""

    job_id: str
    names: tuple[str, ...]
    digests: tuple[Digest, ...]
    provenance: str
    type: Literal["work_result"] = "work_result"


@dataclass(frozen=True, slots=True)
class WorkFailed:
    job_id: str
    error: ErrorInfo
    type: Literal["work_failed"] = "work_failed"


@dataclass(frozen=True, slots=True)
class WorkCancelled:
    job_id: str
    type: Literal["work_cancelled"] = "work_cancelled"


ToWorker = Work | CancelWork | LookForModels | PreviewTaken | StopWorker
ToServer = WorkerReady | WarmedUp | StartFailed | WorkProgress | WorkPreview | WorkResult | WorkFailed | WorkCancelled


RING_BYTES = 16 * 1024**2
"""Of shared memory in each direction: three frames of 1024² with depth and normals. The rest takes the pipe."""

_SMALL = 32 * 1024
"""A blob up to this size is as quick through the pipe."""


@dataclass(frozen=True, slots=True)
class Line:
    """One end of what joins server and worker. One thread sends, one receives.

    outgoing, incoming: rings in shared memory for large tensors; None where there are none.
    """

    connection: Connection
    outgoing: Ring | None = None
    incoming: Ring | None = None

    def send(self, message: ToWorker | ToServer, arrays: Sequence[AnyArray] = ()) -> None:
        """Raises OSError if the other side is gone."""
        plain = [np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C") for array in arrays]
        views = [array.reshape(-1).data.cast("B") if array.nbytes else memoryview(b"") for array in plain]
        places = [self._place(view) for view in views]
        blobs = [(array.dtype.name, array.shape, place) for array, place in zip(plain, places, strict=True)]
        self.connection.send_bytes(json.dumps({"message": encode(message), "blobs": blobs}).encode())
        for view, place in zip(views, places, strict=True):
            if place is None and len(view):
                self.connection.send_bytes(view)

    def receive(self) -> tuple[Any, list[AnyArray]]:
        """The next message and its tensors, writable. Raises EOFError or OSError if the other side is gone."""
        header = json.loads(self.connection.recv_bytes())
        arrays: list[AnyArray] = []
        for dtype, shape, place in header["blobs"]:
            array = np.empty(shape, dtype)
            if array.nbytes:
                self._fetch(place, array.reshape(-1).data.cast("B"))
            arrays.append(array)
        return decode(ToWorker | ToServer, header["message"]), arrays

    def close(self) -> None:
        self.connection.close()
        for ring in (self.outgoing, self.incoming):
            if ring is not None:
                ring.close()

    def _place(self, view: memoryview) -> int | None:
        return None if self.outgoing is None or len(view) <= _SMALL else self.outgoing.put(view)

    def _fetch(self, place: int | None, view: memoryview) -> None:
        if place is None:
            self.connection.recv_bytes_into(view)
        else:
            assert self.incoming is not None, "both ends were given the same rings"
            self.incoming.take(place, view)
