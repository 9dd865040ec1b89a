"""Who works with a model right now, across processes: so that nobody deletes it, or loads it twice into place.

Locks are files locked through the operating system, which lets go of them when a process dies, however it dies.
Every user of a model holds a *lease*, a locked file of its own; changing a model takes its *gate* and finds no lease.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .transfer import storage_error

__all__ = ["changing", "using"]

PATIENCE = 1.0
"""Seconds; taking a lease needs the gate for milliseconds."""

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether ``path`` could be locked; held until the end of the block. Raises ScumbleError if it can't be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        yield _try_lock(file)
    finally:
        os.close(file)


@contextmanager
def _gate(locks: Path, model_id: str) -> Iterator[None]:
    """Nobody else begins to use or change ``model_id`` meanwhile. Waits a second for those who are just beginning."""
    until = time.monotonic() + PATIENCE
    while True:
        with _locked(locks / f"{model_id}.gate") as free:
            if free:
                yield
                return
        if time.monotonic() > until:
            raise _in_use(model_id, "is being downloaded, imported or deleted")
        time.sleep(0.02)


@contextmanager
def using(locks: Path, model_id: str) -> Iterator[None]:
    """Hold a lease on ``model_id`` while its files are read or may be read again.

    In a library that can't be written to there is none, since nobody can delete anything there either.
    Raises ScumbleError IN_USE while it is being deleted or replaced.
    """
    lease = locks / model_id / f"{uuid.uuid4().hex}.lease"
    if not _is_writable(locks):
        yield
        return
    try:
        with ExitStack() as stack:
            with _gate(locks, model_id):
                stack.enter_context(_locked(lease))
            yield
    finally:
        lease.unlink(missing_ok=True)


def _is_writable(locks: Path) -> bool:
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(locks, os.W_OK)


@contextmanager
def changing(locks: Path, model_id: str) -> Iterator[None]:
    """Be the only one who does anything with ``model_id``. Raises ScumbleError IN_USE if somebody uses it."""
    with _gate(locks, model_id):
        for lease in sorted((locks / model_id).glob("*.lease")):
            with _locked(lease) as stale:
                if not stale:
                    raise _in_use(model_id, "is loaded by a running server")
            lease.unlink(missing_ok=True)
        yield


def _in_use(model_id: str, why: str) -> ScumbleError:
    remedy = Remedy("Wait for it, or stop the server, and try again")
    return ScumbleError(ErrorCode.IN_USE, f"{model_id} {why}", field="id", retryable=True, remedy=remedy)
