"""Scumble for scripts: the same jobs as the panel, in an open Blender or in background.

    from bl_ext.user_default.scumble import api

    picture = api.generate(prompt="mossy stone", source="CAMERA")     # waits
    api.texture_from_view(picture, [bpy.data.objects["Head"]])

Failures are ``scumble_shared.errors.ScumbleError`` with a code, a sentence and often a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import Capabilities

from . import actions, pump
from .apply import results
from .jobs import JobRecord
from .state import session

__all__ = [
    "cancel",
    "capabilities",
    "connect",
    "control_images",
    "disconnect",
    "generate",
    "job",
    "step",
    "texture_from_view",
    "wait",
]

step = pump.step
wait = actions.wait


def connect(timeout: float = 60.0) -> Capabilities:
    """Connect as the preferences say, starting the server if it is ours to start; what it offers is returned."""
    actions.connect_and_wait(timeout)
    return session().capabilities


def disconnect() -> None:
    """End the connection, and the server if we started it. Unfinished jobs fail."""
    session().disconnect(wait=True)


def capabilities() -> Capabilities:
    """Models, samplers and device of the connected server; empty without one."""
    return session().capabilities


def generate(
    *,
    wait: bool = True,
    timeout: float | None = None,
    on_preview: Callable[[JobRecord, Any], None] | None = None,
    **settings: Any,
) -> JobRecord:
    """A picture of the current scene.

    settings: any field of ``scumble_shared.job.GenerateJob`` (prompt, seed, width, controls, ...), ``source``
    ("CAMERA" or "VIEWPORT") and ``result_actions`` (a set of "IMAGE", "OVERLAY", "RENDER"); the scene's own settings
    hold for the rest. wait: until the result is in the file. The record's ``prepared`` has the pictures by name
    ("image/0", ...), each with ``pixels`` (uint8, top row first) and ``png``. on_preview: called with the record and
    each preview (float32 h x w x 4, bottom row first) from within :func:`step` or :func:`wait`.
    """
    actions.connect_and_wait()
    record = actions.start(bpy.context, watched=on_preview is not None, **settings)
    if on_preview is not None:
        results.preview_watchers[record.id] = on_preview
    return actions.wait(record.id, timeout) if wait else record


def texture_from_view(
    picture: JobRecord | None = None,
    objects: Sequence[bpy.types.Object] | None = None,
    *,
    image: int = 0,
    wait: bool = True,
    timeout: float | None = None,
) -> JobRecord:
    """Put a generated picture on to objects, as seen from its view.

    picture: from :func:`generate`, the latest by default. objects: the selected ones by default.
    """
    chosen = list(bpy.context.selected_objects) if objects is None else list(objects)
    actions.connect_and_wait()
    record = actions.start_texture(bpy.context, chosen, picture, image)
    return actions.wait(record.id, timeout) if wait else record


def control_images(*, timeout: float | None = None) -> JobRecord:
    """The control images of the scene's controls, as ``prepared["control/0"]``, ... Waits."""
    actions.connect_and_wait()
    return actions.wait(actions.start_control_images(bpy.context).id, timeout)


def job(job_id: str) -> JobRecord:
    """How a job is doing. Raises ScumbleError UNKNOWN_JOB."""
    record = session().jobs.get(job_id)
    if record is None:
        raise ScumbleError(ErrorCode.UNKNOWN_JOB, f"job {job_id} isn't known")
    return record


def cancel(job_id: str) -> None:
    """Ask a job to end; its state becomes CANCELLED."""
    session().cancel(job_id)
