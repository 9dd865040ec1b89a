"""Asking the server about its models. Main thread; nothing here waits."""

from __future__ import annotations

import bpy
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import LibraryJob
from scumble_shared.library import NETWORK_ACTIONS, LibraryAnswer

from ..jobs import JobRecord, Target
from ..runtime import ensure_connection
from ..session import ConnectionState
from ..state import session
from . import properties
from .shelf import Shelf

__all__ = ["SHELF", "errands", "list_if_wanted", "start", "take_answer", "why_not", "why_not_online"]

SHELF = Shelf()


def why_not() -> str:
    """Why the server can't be asked; "" if it can."""
    current = session()
    if current.state is not ConnectionState.READY:
        return "Connect to a server first"
    tasks = current.capabilities.tasks
    return "This server doesn't look after models" if tasks and "library" not in tasks else ""


def why_not_online() -> str:
    if reason := why_not():
        return reason
    if not bpy.app.online_access:
        return "Allow Online Access first, in Preferences, System"
    return "The server was told to stay offline" if SHELF.listing is not None and SHELF.listing.offline else ""


def start(job: LibraryJob) -> JobRecord:
    """Have it done beside whatever goes on. Raises ScumbleError OFFLINE where Blender forbids the network."""
    if job.action in NETWORK_ACTIONS and not bpy.app.online_access:
        raise ScumbleError(
            ErrorCode.OFFLINE,
            "Blender isn't allowed to go online",
            remedy=Remedy("Allow Online Access in Preferences, System"),
        )
    record = _submit(job)
    ensure_connection()
    return record


def _submit(job: LibraryJob) -> JobRecord:
    """Errands that have ended are forgotten, so that pictures are remembered the longer."""
    jobs = session().jobs
    for record in jobs.all():
        if isinstance(record.job, LibraryJob) and record.state.ended:
            jobs.remove(record.id)
    return session().submit(job, {}, Target(0), previews=False)


def errands() -> tuple[JobRecord, ...]:
    """Library jobs that go on."""
    return tuple(record for record in session().jobs.live() if isinstance(record.job, LibraryJob))


def take_answer(record: JobRecord) -> None:
    """What the server said."""
    answer = record.prepared
    assert isinstance(answer, LibraryAnswer)
    SHELF.take(answer, record.job.action)
    properties.show(SHELF)


def list_if_wanted() -> None:
    """Called in every turn of the pump: the panel was drawn and had nothing to show."""
    if not SHELF.wanted or why_not():
        return
    SHELF.wanted = False
    if not errands():
        _submit(LibraryJob("list"))
