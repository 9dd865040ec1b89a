"""The verbs of the add-on, shared by operators and the Python API. Main thread; only what says so waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob

from . import pump, request
from .jobs import JobRecord, JobState
from .preferences import preferences
from .runtime import ensure_connection
from .session import ConnectionState
from .state import session

__all__ = ["connect_and_wait", "latest_generation", "start", "start_control_images", "start_texture", "submit", "wait"]

LOST_PATIENCE = 20.0
"""Seconds without a connection after which a waiting script is told."""

PAUSE = 0.002


def start(context: bpy.types.Context, *, watched: bool = False, **overrides: Any) -> JobRecord:
    """Begin a generation; see :func:`request.generation`. Raises ScumbleError SCENE or SERVER_UNREACHABLE.

    watched: somebody wants its previews, even if the viewport doesn't show them.
    """
    made = request.generation(context, session().capabilities, **overrides)
    return submit(made, watched=watched)


def start_control_images(context: bpy.types.Context) -> JobRecord:
    return submit(request.control_images(context, session().capabilities))


def start_texture(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], generated: JobRecord | None = None, image: int = 0
) -> JobRecord:
    """Begin to texture ``objects`` from the view of a finished generation, the latest by default.

    Objects without a surface, such as cameras in a selection, are left out.
    """
    generated = generated or latest_generation()
    if generated is None:
        raise ScumbleError(
            ErrorCode.SCENE,
            "there is no picture to project yet; generate one first",
            remedy=Remedy("Generate", RemedyAction.RETRY),
        )
    surfaces = [thing for thing in objects if hasattr(thing.data, "materials")]
    if not surfaces:
        raise ScumbleError(ErrorCode.SCENE, "select the objects to texture", field="objects")
    return submit(request.texture(context, generated, surfaces, image))


def latest_generation() -> JobRecord | None:
    """The youngest finished picture."""
    return session().jobs.latest(JobState.DONE, GenerateJob)


def wait(job_id: str, timeout: float | None = None) -> JobRecord:
    """Blocks until a job has ended and its result is applied; for scripts and background Blender.

    timeout: seconds, None for any. Raises ScumbleError as the job did, SERVER_UNREACHABLE when there is no server for
    20 s, and CONNECTION_LOST over the time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    lost_since: float | None = None
    while True:
        pump.step()
        record = session().jobs.get(job_id)
        if record is None:
            raise ScumbleError(ErrorCode.UNKNOWN_JOB, f"job {job_id} isn't known")
        if record.state is JobState.FAILED and record.error is not None:
            raise ScumbleError.from_info(record.error)
        if record.state.ended:
            return record
        now = time.monotonic()
        if session().state is not ConnectionState.LOST:
            lost_since = None
        elif lost_since is None:
            lost_since = now
        elif now - lost_since > LOST_PATIENCE and session().error is not None:
            raise ScumbleError.from_info(session().error)
        if deadline is not None and now > deadline:
            raise ScumbleError(ErrorCode.CONNECTION_LOST, f"no result within {timeout:g} s", retryable=True)
        time.sleep(PAUSE)


def connect_and_wait(timeout: float = 60.0) -> None:
    """Blocks until the server is ready. Raises ScumbleError with the reason it isn't."""
    pump.step()  # what happened to the server since
    ensure_connection()
    deadline = time.monotonic() + timeout
    while session().state is not ConnectionState.READY:
        pump.step()
        error = session().error
        if session().state is ConnectionState.FAILED and error is not None:
            raise ScumbleError.from_info(error)
        if time.monotonic() > deadline:
            raise (
                ScumbleError.from_info(error)
                if error
                else ScumbleError(
                    ErrorCode.SERVER_UNREACHABLE, f"the server wasn't ready within {timeout:g} s", retryable=True
                )
            )
        time.sleep(PAUSE)


def submit(made: request.Request, *, watched: bool = False) -> JobRecord:
    """Hand a job over. watched: somebody wants its previews, even if the viewport doesn't show them."""
    previews = watched or preferences().show_previews
    record = session().submit(made.job, made.tensors, made.target, previews=previews)
    ensure_connection()
    return record
