"""What the server and its worker process say to each other, and how it crosses the pipe.

One message is a JSON header and then one raw blob per tensor; never pickle. Both ends are the same program, so
nothing is negotiated and a malformed message is a bug.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from scumble_shared.errors import ErrorInfo
from scumble_shared.job import ControlImagesJob, GenerateJob, ProjectJob, TextureJob
from scumble_shared.messages import Capabilities
from scumble_shared.schema import decode, encode
from scumble_shared.tensor import AnyArray, Digest

__all__ = [
    "CancelWork",
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
    "receive",
    "send",
]


@dataclass(frozen=True, slots=True)
class Work:
    """Do this job now. digests: of the tensors that follow, in their order."""

    job_id: str
    job: GenerateJob | ControlImagesJob | ProjectJob | TextureJob
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
    """names, digests: of the tensors that follow, in their order. provenance: JSON text."""

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


def send(connection: Connection, message: ToWorker | ToServer, arrays: Sequence[AnyArray] = ()) -> None:
    """Raises OSError if the other side is gone."""
    plain = [np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C") for array in arrays]
    blobs = [(array.dtype.name, array.shape) for array in plain]
    connection.send_bytes(json.dumps({"message": encode(message), "blobs": blobs}).encode())
    for array in plain:
        if array.nbytes:
            connection.send_bytes(array.reshape(-1).data.cast("B"))


def receive(connection: Connection) -> tuple[Any, list[AnyArray]]:
    """The next message and its tensors, which are writable. Raises EOFError or OSError if the other side is gone."""
    header = json.loads(connection.recv_bytes())
    arrays: list[AnyArray] = []
    for dtype, shape in header["blobs"]:
        array = np.empty(shape, dtype)
        if array.nbytes:
            connection.recv_bytes_into(array.reshape(-1).data.cast("B"))
        arrays.append(array)
    return decode(ToWorker | ToServer, header["message"]), arrays
