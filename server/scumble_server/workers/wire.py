"""What the server and its worker process say to each other, and how it crosses the pipe.

One message is a JSON header and then one raw blob per tensor; never pickle. Both ends are the same program, so
nothing is negotiated and a malformed message is a bug.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from functools import cache
from multiprocessing.connection import Connection
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from scumble_shared.errors import ErrorInfo
from scumble_shared.job import ControlImagesJob, GenerateJob, ProjectJob
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

__all__ = [
    "CancelWork",
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
    job: GenerateJob | ControlImagesJob | ProjectJob
    digests: tuple[Digest, ...] = ()
    previews: bool = True
    type: Literal["work"] = "work"


@dataclass(frozen=True, slots=True)
class CancelWork:
    job_id: str
    type: Literal["cancel_work"] = "cancel_work"


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


ToWorker = Work | CancelWork | PreviewTaken | StopWorker
ToServer = WorkerReady | WarmedUp | StartFailed | WorkProgress | WorkPreview | WorkResult | WorkFailed | WorkCancelled

_KINDS: Mapping[str, type] = {
    get_args(get_type_hints(kind)["type"])[0]: kind for kind in (*get_args(ToWorker), *get_args(ToServer))
}


def send(connection: Connection, message: ToWorker | ToServer, arrays: Sequence[AnyArray] = ()) -> None:
    """Raises OSError if the other side is gone."""
    contiguous = [np.ascontiguousarray(array) for array in arrays]
    blobs = [(array.dtype.name, array.shape) for array in contiguous]
    connection.send_bytes(json.dumps({"message": asdict(message), "blobs": blobs}).encode())
    for array in contiguous:
        if array.nbytes:
            connection.send_bytes(array.data.cast("B"))


def receive(connection: Connection) -> tuple[Any, list[AnyArray]]:
    """The next message and its tensors, which are writable. Raises EOFError or OSError if the other side is gone."""
    header = json.loads(connection.recv_bytes())
    arrays: list[AnyArray] = []
    for dtype, shape in header["blobs"]:
        array = np.empty(shape, dtype)
        if array.nbytes:
            connection.recv_bytes_into(array.data.cast("B"))
        arrays.append(array)
    message = header["message"]
    return _build(message, _KINDS[message["type"]]), arrays


def _build(value: Any, kind: Any) -> Any:
    """The value of type ``kind`` whose JSON form is ``value``."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _build(item, hints[name]) for name, item in value.items()})
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        repeated = len(kinds) == 2 and kinds[1] is Ellipsis
        return tuple(_build(item, kinds[0] if repeated else kinds[i]) for i, item in enumerate(value))
    if isinstance(kind, UnionType):
        return None if value is None else _build(value, _member(value, kind))
    return kind(value) if isinstance(kind, type) and issubclass(kind, StrEnum) else value


def _member(value: Any, union: UnionType) -> Any:
    """The member of an optional value, or the job type whose ``task`` is in the value."""
    members = [kind for kind in get_args(union) if kind is not NoneType]
    if len(members) == 1:
        return members[0]
    return next(kind for kind in members if get_args(_hints(kind)["task"])[0] == value["task"])


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)
