"""What the panels say, decided without a layout: states, progress, and why something can't be done."""

from __future__ import annotations

from dataclasses import dataclass

from scumble_shared.errors import ErrorInfo
from scumble_shared.job import TextureJob
from scumble_shared.messages import Capabilities

from .jobs import JobRecord, JobState
from .session import ConnectionState

__all__ = [
    "ConnectionRow",
    "connection_row",
    "controls_hint",
    "progress_fraction",
    "progress_text",
    "sentence",
    "why_not_generate",
]

STAGES = {
    "loading": "Loading the model",
    "encoding": "Reading the prompt",
    "placing": "Looking round",
    "conditioning": "Drawing the controls",
    "detecting": "Looking at the photo",
    "denoising": "Painting",
    "decoding": "Finishing",
    "projecting": "Projecting",
}


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One line: what is the matter, an icon for it, the operator offered beside it, and the button's text, if any."""

    text: str
    icon: str
    operator: str
    button: str = ""


def connection_row(state: ConnectionState, capabilities: Capabilities, own_server: bool) -> ConnectionRow:
    """own_server: connecting starts a server on this machine."""
    button = "Start Server" if own_server else "Connect"
    match state:
        case ConnectionState.OFF:
            return ConnectionRow("Not connected", "UNLINKED", "scumble.connect", button)
        case ConnectionState.STARTING:
            return ConnectionRow("Starting the server", "SORTTIME", "scumble.disconnect")
        case ConnectionState.CONNECTING:
            return ConnectionRow("Connecting", "SORTTIME", "scumble.disconnect")
        case ConnectionState.READY:
            device = f" ({capabilities.device})" if capabilities.device else ""
            return ConnectionRow(f"Connected{device}", "LINKED", "scumble.disconnect")
        case ConnectionState.LOST:
            return ConnectionRow("Connection lost, trying again", "ERROR", "scumble.disconnect")
        case ConnectionState.FAILED:
            return ConnectionRow("Not connected", "ERROR", "scumble.connect", button)


def why_not_generate(settings: object, has_camera: bool, *, prompt_needed: bool = True) -> str:
    """The reason, as a sentence without its stop; "" if nothing stands in the way."""
    if prompt_needed and not settings.prompt.strip():
        return "Write a prompt first"
    if settings.source == "CAMERA" and not has_camera:
        return "The scene has no camera; add one, or use the viewport"
    return ""


def controls_hint(offered: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """What is wrong with the list of controls; "" if nothing, or if nothing is known of the model."""
    missing = [kind for kind in wanted if offered and kind not in offered]
    return f"The model has no ControlNet for: {', '.join(missing)}" if missing else ""


def progress_fraction(record: JobRecord) -> float:
    """In [0, 1]; of the steps, while the whole isn't known."""
    if record.fraction is not None:
        return min(max(record.fraction, 0.0), 1.0)
    return record.step / record.steps if record.steps else 0.0


def progress_text(record: JobRecord) -> str:
    if record.state is JobState.WAITING and not record.stage:
        return f"Waiting, {record.position} before it" if record.position else "Waiting"
    text = STAGES.get(record.stage, record.stage[:1].upper() + record.stage[1:] or "Working")
    if record.stage == "denoising" and isinstance(record.job, TextureJob):
        text += _views_and_steps(record.job, record.step, record.steps)
    elif record.steps:
        text += f" {record.step}/{record.steps}"
    if record.eta is not None:
        text += f", {_duration(record.eta)} left"
    return text


def _views_and_steps(job: TextureJob, step: int, steps: int) -> str:
    """Views that are made one by one are counted, and their steps from the first of each."""
    free = sum(view.image is None for view in job.views)
    if job.method != "sequential" or not free or not steps:
        return f" {free} views {step}/{steps}" if free else f" {step}/{steps}"
    each = max(1, steps // free)
    view = min(max(step - 1, 0) // each, free - 1)
    return f" view {view + 1}/{free}, step {step - view * each}/{each}"


def sentence(error: ErrorInfo) -> str:
    """An error for people: without the path of its field, beginning with a capital."""
    return error.message[:1].upper() + error.message[1:]


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
