"""All messages of protocol ``scumble.v1``: who says what, and which of them survive a lost connection.

Control messages are JSON text frames ``{"type": ..., ...}``; messages with tensors are binary frames
(:mod:`scumble_shared.codec`). *Reliable* job events carry ``seq`` (1, 2, ... per job), are kept until
acknowledged and replayed after a reconnect; *latest-wins* events may be dropped when the reader is slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .errors import ErrorInfo
from .job import AnyJob
from .limits import Limits
from .tensor import Digest

__all__ = [
    "PROTOCOL_VERSION",
    "SUBPROTOCOL",
    "Accepted",
    "Ack",
    "AdapterInfo",
    "Cancel",
    "Cancelled",
    "Capabilities",
    "ClientMessage",
    "ControlNetInfo",
    "DetectorInfo",
    "Failed",
    "Hello",
    "Identify",
    "JobEvent",
    "ListModels",
    "LoraInfo",
    "MapEstimatorInfo",
    "ModelInfo",
    "ModelsChanged",
    "NeedTensors",
    "Preview",
    "Problem",
    "Progress",
    "Ready",
    "ReliableEvent",
    "Result",
    "ResumePoint",
    "ServerMessage",
    "Started",
    "Submit",
    "TensorInfo",
    "UnusableModel",
    "Upload",
    "UpscalerInfo",
]

SUBPROTOCOL = "scumble.v1"
PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class ControlNetInfo:
    """A ControlNet the server can use. id "" never occurs; kinds: which control kinds it was trained on."""

    id: str
    name: str
    family: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model the server can use, with the defaults that suit it."""

    id: str
    name: str
    family: str
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    control_kinds: tuple[str, ...] = ()  # kinds for which Control.model may be ""
    note: str = ""
    samplers: tuple[str, ...] = ()  # that go with it; () for all that the server has
    takes_references: bool = False  # models of its kind can be shown reference pictures, given an adapter


@dataclass(frozen=True, slots=True)
class LoraInfo:
    """A LoRA for models of ``family``. weight: that suits it. sampler, num_inference_steps, guidance_scale: what a
    model needs with it, for those that save steps; "" and 0 where it is as without."""

    id: str
    name: str
    family: str
    weight: float = 1.0
    sampler: str = ""
    num_inference_steps: int = 0
    guidance_scale: float = 0.0


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """An IP-Adapter the server can use, for reference pictures beside models of ``family``. The first of a family is
    what it offers."""

    id: str
    name: str
    family: str


@dataclass(frozen=True, slots=True)
class UpscalerInfo:
    """An upscaling network the server can run, for :attr:`UpscaleJob.upscaler`."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class MapEstimatorInfo:
    """What can make maps of materials, for ``map_estimator`` of jobs. maps: which of ``scumble_shared.job.MAPS``."""

    id: str
    name: str
    maps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """What can make control images of a picture, for ``detector`` of controls. kinds: of control."""

    id: str
    name: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnusableModel:
    """Something that looks like a model and can't be used. reason: a sentence for its owner."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    tasks: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ("raw",)
    device: str = ""
    models: tuple[ModelInfo, ...] = ()
    controlnets: tuple[ControlNetInfo, ...] = ()
    unusable: tuple[UnusableModel, ...] = ()
    upscalers: tuple[UpscalerInfo, ...] = ()
    map_estimators: tuple[MapEstimatorInfo, ...] = ()
    detectors: tuple[DetectorInfo, ...] = ()
    loras: tuple[LoraInfo, ...] = ()
    adapters: tuple[AdapterInfo, ...] = ()


# --- server -> client -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First message on every connection. protocol: lowest and highest version spoken."""

    server: str
    instance_id: str
    protocol: tuple[int, int] = (PROTOCOL_VERSION, PROTOCOL_VERSION)
    limits: Limits = field(default_factory=Limits)
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Ready:
    """Answer to Identify. resumed: jobs this server still knows, of those the client named."""

    protocol: int
    capabilities: Capabilities
    codec: str = "raw"
    resumed: tuple[str, ...] = ()
    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class ModelsChanged:
    """Latest-wins: the server's models differ from what it said before."""

    capabilities: Capabilities
    type: Literal["models_changed"] = "models_changed"


@dataclass(frozen=True, slots=True)
class NeedTensors:
    """The submitted job waits for these; upload them and submit again."""

    job_id: str
    digests: tuple[Digest, ...]
    type: Literal["need_tensors"] = "need_tensors"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Reliable. position: jobs ahead of it."""

    job_id: str
    seq: int
    position: int = 0
    type: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True)
class Started:
    """Reliable. The worker has taken the job up."""

    job_id: str
    seq: int
    type: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Progress:
    """Latest-wins. stage: "loading", "encoding", "denoising", "decoding", "projecting", ...; fraction of the
    whole job in [0, 1], None while it can't be told; eta: seconds left, None if unknown."""

    job_id: str
    stage: str
    step: int = 0
    steps: int = 0
    fraction: float | None = None
    eta: float | None = None
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor in a binary frame. codec: "raw", "zstd" (of the raw bytes), "webp" (lossless for results,
    lossy for previews)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: str = "raw"
    digest: Digest = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """Latest-wins, binary. One tensor "preview", uint8 H x W x 3, usually smaller than the result."""

    job_id: str
    step: int
    steps: int
    tensors: tuple[TensorInfo, ...]
    type: Literal["preview"] = "preview"


@dataclass(frozen=True, slots=True)
class Result:
    """Reliable, binary. provenance: JSON text of the job, versions, device and timings."""

    job_id: str
    seq: int
    tensors: tuple[TensorInfo, ...]
    provenance: str = "{}"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class Failed:
    """Reliable."""

    job_id: str
    seq: int
    error: ErrorInfo
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Reliable."""

    job_id: str
    seq: int
    type: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True)
class Problem:
    """A message could not be used. job_id: "" where it belongs to no job. The connection stays open."""

    error: ErrorInfo
    job_id: str = ""
    type: Literal["problem"] = "problem"


# --- client -> server -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """seq: the last reliable event of this job that the client has."""

    job_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Identify:
    """codecs: what the client can decode, best first."""

    client: str
    protocol: int = PROTOCOL_VERSION
    codecs: tuple[str, ...] = ("raw",)
    resume: tuple[ResumePoint, ...] = ()
    type: Literal["identify"] = "identify"


@dataclass(frozen=True, slots=True)
class Submit:
    """job_id: made by the client (a UUID). previews: whether to send Preview events."""

    job_id: str
    job: AnyJob
    previews: bool = True
    type: Literal["submit"] = "submit"


@dataclass(frozen=True, slots=True)
class Upload:
    """Binary. Tensors for later jobs; each is stored under its digest; the server checks content addresses."""

    tensors: tuple[TensorInfo, ...]
    type: Literal["upload"] = "upload"


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: str
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class ListModels:
    """Look for models that came or went. Answered by ModelsChanged, whether there is something new or not."""

    type: Literal["list_models"] = "list_models"


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has every reliable event of the job up to ``seq``."""

    job_id: str
    seq: int
    type: Literal["ack"] = "ack"


ReliableEvent = Accepted | Started | Result | Failed | Cancelled
JobEvent = ReliableEvent | Progress | Preview
ServerMessage = Hello | Ready | ModelsChanged | NeedTensors | JobEvent | Problem
ClientMessage = Identify | Submit | Upload | Cancel | ListModels | Ack
