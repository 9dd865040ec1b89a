"""Every error an artist or a script can meet: a stable code, the field at fault, a sentence, a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ErrorCode", "ErrorInfo", "Remedy", "RemedyAction", "ScumbleError"]


class ErrorCode(StrEnum):
    """Stable names; a client may switch on them, so a released one never changes its meaning."""

    INVALID_MESSAGE = "invalid_message"  # not a frame or message of this protocol
    INVALID_FIELD = "invalid_field"  # a well-formed message with a value that can't be
    TOO_LARGE = "too_large"  # over a limit the server announced
    UNSUPPORTED = "unsupported"  # understood, but not offered by this server or model
    PROTOCOL_VERSION = "protocol_version"  # no protocol version in common
    UNAUTHORIZED = "unauthorized"  # missing or wrong token
    CONFLICT = "conflict"  # a job id re-used for a different job
    UNKNOWN_JOB = "unknown_job"
    BUSY = "busy"  # the queue is full
    MODEL_MISSING = "model_missing"
    MODEL_INVALID = "model_invalid"  # truncated, mislabelled or refused file format
    MODEL_MISMATCH = "model_mismatch"  # e.g. an SDXL ControlNet on an SD1.5 model
    OUT_OF_MEMORY = "out_of_memory"
    INVALID_RESULT = "invalid_result"  # NaN or infinite pixels came out of the model
    WORKER_LOST = "worker_lost"  # the process doing the work died
    CONNECTION_LOST = "connection_lost"
    SERVER_UNREACHABLE = "server_unreachable"
    OFFLINE = "offline"  # the network was needed and the user forbade it
    DOWNLOAD_FAILED = "download_failed"  # the network or the other server failed, after retries
    DISK_FULL = "disk_full"
    IN_USE = "in_use"  # a model that somebody works with can't be deleted or replaced
    SCENE = "scene"  # nothing to capture, no UVs, object gone, ...
    INTERNAL = "internal"


class RemedyAction(StrEnum):
    """What the add-on can offer as a button. The argument's meaning is given per action."""

    NONE = "none"
    RETRY = "retry"
    START_SERVER = "start_server"
    OPEN_PREFERENCES = "open_preferences"
    UPDATE_ADDON = "update_addon"
    UPDATE_SERVER = "update_server"
    CHOOSE_MODEL = "choose_model"  # argument: a model id that would work, or ""
    REMOVE_CONTROL = "remove_control"  # argument: index of the control in the job
    REMOVE_LORA = "remove_lora"  # argument: index of the LoRA in the job
    REMOVE_REFERENCE = "remove_reference"  # argument: index of the reference in the job
    REDUCE_SIZE = "reduce_size"  # argument: "WIDTHxHEIGHT" that would fit
    ADD_UV_MAP = "add_uv_map"  # argument: object name


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing that would help: a label for people, an action and its argument for the add-on."""

    label: str
    action: RemedyAction = RemedyAction.NONE
    argument: str = ""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as it travels. ``field`` is a path such as ``job.controls[1].model``, or ""."""

    code: ErrorCode
    message: str
    field: str = ""
    retryable: bool = False
    remedy: Remedy | None = None


class ScumbleError(Exception):
    """The one exception that crosses module borders on purpose; anything else is a bug."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str = "",
        retryable: bool = False,
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.info = ErrorInfo(code, message, field, retryable, remedy)

    @classmethod
    def from_info(cls, info: ErrorInfo) -> ScumbleError:
        return cls(info.code, info.message, field=info.field, retryable=info.retryable, remedy=info.remedy)

    @property
    def code(self) -> ErrorCode:
        return self.info.code
