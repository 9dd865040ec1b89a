"""One file over HTTP into place: resumed, hashed, retried, and never half there under its own name.

While it comes it lies beside its place as ``NAME.part``, with ``NAME.part.json`` saying which version of which file
it is; both survive drops, cancelling and restarts, so the next attempt goes on. The part is deleted as soon as it is
known to be wrong (checksum, more bytes than there may be).
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

from .transfer_http import Dropped, Network, Response, open_url, shown

__all__ = [
    "MAXIMUM_BYTES",
    "Fetched",
    "Source",
    "TransferHooks",
    "check_disk",
    "fetch",
    "part_bytes",
    "storage_error",
    "with_retries",
]

MAXIMUM_BYTES = 128 * 1024**3
"""Most that is taken of a file whose size nobody told; the largest image models have about half of it."""

CHUNK = 1024 * 1024
PROGRESS = 256 * 1024
"""Bytes beyond the farthest point so far that count as progress, and give a broken connection new attempts."""

Value = TypeVar("Value")

RETRY = Remedy("Try again: what has arrived is kept and the download goes on from there", RemedyAction.RETRY)


class TransferHooks(Protocol):
    """How a download talks back; called a few times per megabyte."""

    def progress(self, done: int, total: int | None) -> None:
        """Bytes of this file that are here, and that there are; None while unknown."""

    def check_cancelled(self) -> None:
        """Raises whatever shall end the download; what has arrived is kept."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file elsewhere and what is known of it beforehand: size in bytes, SHA-256, or git's SHA-1; "" if not known."""

    url: str
    size: int | None = None
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    size: int
    sha256: str


def fetch(source: Source, target: Path, network: Network, hooks: TransferHooks) -> Fetched:
    """Download ``source`` to ``target`` and return what came; a target that is there is replaced in one step.

    Raises ScumbleError: OFFLINE, UNAUTHORIZED, MODEL_MISSING or DOWNLOAD_FAILED from the network; DISK_FULL;
    MODEL_INVALID if size or checksum differ from ``source``.
    """
    transfer = _Transfer(source, target, network, hooks)
    try:
        return _checked(transfer, source)
    finally:
        transfer.tidy()


def _checked(transfer: _Transfer, source: Source) -> Fetched:
    for attempt in (1, 2):
        resumed = with_retries(transfer.attempt, transfer.network, transfer.hooks, transfer.farthest)
        problem = transfer.problem()
        if not problem:
            break
        transfer.discard()
        # A part from an earlier run may be what is wrong: once, everything is fetched afresh.
        if attempt == 2 or not resumed:
            message = f"{shown(source.url)} {problem}; it was deleted"
            remedy = Remedy("Try again; if it stays so, the file was changed where it comes from", RemedyAction.RETRY)
            raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="sha256", remedy=remedy)
    return transfer.finish()


def with_retries(
    action: Callable[[], Value],
    network: Network,
    hooks: TransferHooks,
    progress: Callable[[], int] = lambda: 0,
) -> Value:
    """``action()``, again after Dropped with growing pauses, up to ``network.attempts`` times without ``progress``.

    progress: a number that grows while it gets on. Raises ScumbleError DOWNLOAD_FAILED (retryable) at last.
    """
    failures, best = 0, progress()
    while True:
        hooks.check_cancelled()
        try:
            return action()
        except Dropped as dropped:
            failures += 1
            if progress() >= best + PROGRESS:
                failures, best = 1, progress()
            if failures >= network.attempts:
                message = f"{dropped} ({failures} attempts)"
                raise ScumbleError(
                    ErrorCode.DOWNLOAD_FAILED, message, field="url", retryable=True, remedy=RETRY
                ) from dropped
            pause = network.backoff * 2 ** (failures - 1) if dropped.wait is None else dropped.wait
            _pause(pause, hooks)


def _pause(seconds: float, hooks: TransferHooks) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        hooks.check_cancelled()
        time.sleep(min(left, 0.1))


def part_bytes(target: Path) -> int:
    """Bytes of ``target`` that an earlier attempt left, the whole of it if it is there."""
    for path in (target, _part(target)):
        if path.is_file():
            return path.stat().st_size
    return 0


def check_disk(folder: Path, needed: int, network: Network) -> None:
    """Raises ScumbleError DISK_FULL if ``needed`` more bytes in ``folder`` would not leave the reserve free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed + network.disk_reserve > free:
        missing = needed + network.disk_reserve - free
        message = f"{_megabytes(needed)} are still to come and only {_megabytes(free)} are free on the disk of {folder}"
        raise _disk_full(message, missing)


def _disk_full(message: str, missing: int | None = None) -> ScumbleError:
    what = f"Free {_megabytes(missing)}" if missing else "Free some space"
    remedy = Remedy(f"{what} there, or choose another folder with SCUMBLE_MODELS; what has arrived is kept")
    return ScumbleError(ErrorCode.DISK_FULL, message, field="folder", remedy=remedy)


def storage_error(error: OSError, path: Path) -> ScumbleError:
    """What to tell when ``path`` couldn't be written: DISK_FULL if that is why, else INVALID_FIELD (field "folder")."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(f"the disk of {path.parent} is full")
    message = f"{path} can't be written: {error.strerror or error}"
    remedy = Remedy("Check who may write there, or choose another folder with SCUMBLE_MODELS")
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field="folder", remedy=remedy)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


class _OverrunError(Exception):
    """The body goes on behind its end."""


class _Transfer:
    """The state of one file on its way. ``offset`` bytes are in the part and in the hashes."""

    def __init__(self, source: Source, target: Path, network: Network, hooks: TransferHooks) -> None:
        self.source, self.target, self.network, self.hooks = source, target, network, hooks
        self.part = _part(target)
        self.note = target.with_name(f"{target.name}.part.json")
        self.validator = ""
        self.offset = 0
        self.total = source.size
        self.high_water = 0
        self._reset_hashes()

    def farthest(self) -> int:
        return self.high_water

    def attempt(self) -> bool:
        """Bring the part to its full length; whether it began with bytes of an earlier run.

        Raises Dropped with the part kept.
        """
        try:
            return self._into_part()
        except OSError as error:
            raise storage_error(error, self.part) from error
        except _OverrunError as error:
            self.discard()
            raise ScumbleError(ErrorCode.MODEL_INVALID, str(error), field="size") from error

    def _into_part(self) -> bool:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self.part.open("r+b" if self.part.exists() else "w+b") as file:
            resumed = self._recall(file)
            if self.total is None or self.offset < self.total:
                self._receive(file)
            file.flush()
            os.fsync(file.fileno())
        return resumed

    def problem(self) -> str:
        """What is wrong with the whole part, "" if nothing is."""
        if self.source.size is not None and self.offset != self.source.size:
            return f"has {self.offset} bytes instead of {self.source.size}"
        if self.source.sha256 and self.sha256.hexdigest() != self.source.sha256:
            return f"has the checksum {self.sha256.hexdigest()} instead of {self.source.sha256}"
        if self.source.git_sha1 and self.sha1.hexdigest() != self.source.git_sha1:
            return f"has the git checksum {self.sha1.hexdigest()} instead of {self.source.git_sha1}"
        return ""

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.total = self.source.size
        self.high_water = 0

    def tidy(self) -> None:
        """A part in which nothing ever arrived is only confusing."""
        if self.part.is_file() and not self.part.stat().st_size:
            self.discard()

    def finish(self) -> Fetched:
        os.replace(self.part, self.target)
        self.note.unlink(missing_ok=True)
        return Fetched(self.offset, self.sha256.hexdigest())

    def _reset_hashes(self) -> None:
        self.sha256 = hashlib.sha256()
        self.sha1 = hashlib.sha1(f"blob {self.source.size}\0".encode(), usedforsecurity=False)

    def _recall(self, file: BinaryIO) -> bool:
        """Take up what lies in the part, or empty it if it can't be continued."""
        self.offset = 0
        self._reset_hashes()
        size = file.seek(0, os.SEEK_END)
        note = self._read_note()
        self.validator = str(note.get("validator", "")) if note.get("url") == shown(self.source.url) else ""
        total = note.get("total")
        if self.total is None and self.validator and isinstance(total, int):
            self.total = total
        checkable = self.validator or self.source.sha256 or self.source.git_sha1
        if not size or not checkable or (self.total is not None and size > self.total):
            self._start_over(file)
            return False
        file.seek(0)
        while block := file.read(CHUNK):
            self.hooks.check_cancelled()
            self._count(block)
        return True

    def _count(self, block: bytes) -> None:
        self.sha256.update(block)
        if self.source.git_sha1:
            self.sha1.update(block)
        self.offset += len(block)
        self.high_water = max(self.high_water, self.offset)

    def _start_over(self, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        self.offset = 0
        self._reset_hashes()

    def _read_note(self) -> dict[str, Any]:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _receive(self, file: BinaryIO) -> None:
        headers = {}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
            if self.validator:
                headers["If-Range"] = self.validator
        response = open_url(self.source.url, self.network, headers)
        try:
            if self._align(file, response):
                self._copy(file, response)
        finally:
            response.close()

    def _align(self, file: BinaryIO, response: Response) -> bool:
        """Bring part and response together; False if there is nothing left to read."""
        if response.status == 416:
            if _range(response) == (None, self.offset):
                self.total = self.offset
                return False
            self._start_over(file)
            raise Dropped(f"{shown(self.source.url)} can't go on from here; it starts afresh", 0.0)
        if response.status == 206:
            start, total = _range(response)
            if start != self.offset or (self.total is not None and total not in (None, self.total)):
                self._start_over(file)
                raise Dropped(f"{shown(self.source.url)} sent another part than asked for; it starts afresh", 0.0)
        else:
            start, total = 0, None
        length = response.headers.get("Content-Length", "")
        if total is None and length.isdecimal():
            total = start + int(length)
        self._check_total(total)
        if not start:
            self._start_over(file)
        self._write_note(response)
        self.hooks.progress(self.offset, self.total)
        return True

    def _check_total(self, total: int | None) -> None:
        """total: the size of the whole file as the server tells it now."""
        expected = self.source.size
        if total is None:
            self.total = expected
            return
        if expected is not None and total != expected:
            message = f"{shown(self.source.url)} has {total} bytes there instead of {expected}; nothing was taken"
            remedy = Remedy("The file was changed where it comes from; look for the model's new version")
            raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="size", remedy=remedy)
        if total > MAXIMUM_BYTES:
            raise ScumbleError(ErrorCode.TOO_LARGE, f"{shown(self.source.url)} has {total} bytes", field="size")
        check_disk(self.target.parent, total - self.part.stat().st_size, self.network)
        self.total = total

    def _write_note(self, response: Response) -> None:
        etag = response.headers.get("ETag", "")
        self.validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        note = {"url": shown(self.source.url), "validator": self.validator, "total": self.total}
        self.note.write_text(json.dumps(note), encoding="utf-8")

    def _copy(self, file: BinaryIO, response: Response) -> None:
        limit = MAXIMUM_BYTES if self.total is None else self.total
        pace = _Pace(self.network)
        file.seek(self.offset)
        while block := self._read(response):
            pace.count(len(block))
            if self.offset + len(block) > limit:
                raise _OverrunError(f"{shown(self.source.url)} sends more than its {limit} bytes; it was deleted")
            file.write(block)
            self._count(block)
            self.hooks.progress(self.offset, self.total)
            self.hooks.check_cancelled()
        if self.total is not None and self.offset < self.total:
            missing = self.total - self.offset
            raise Dropped(f"{shown(self.source.url)} ended {missing} bytes too early")

    def _read(self, response: Response) -> bytes:
        """The next bytes, b"" at the end. Network trouble as Dropped, so that it isn't taken for the disk's."""
        try:
            return response.read1(CHUNK)
        except TimeoutError as error:
            raise Dropped(f"{shown(self.source.url)} stalled for {self.network.timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(f"the connection to {shown(self.source.url)} broke") from error


class _Pace:
    """Notices connections that only drip: fewer than ``minimum_rate`` bytes a second over ``timeout`` seconds."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.since, self.received = time.monotonic(), 0

    def count(self, size: int) -> None:
        self.received += size
        elapsed = time.monotonic() - self.since
        if elapsed < self.network.timeout:
            return
        if self.received < self.network.minimum_rate * elapsed:
            raise Dropped(f"only {self.received} bytes came in {elapsed:.0f} s")
        self.since, self.received = time.monotonic(), 0


def _range(response: Response) -> tuple[int | None, int | None]:
    """Start and total of a Content-Range header; None for what isn't told."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total != "*" else None)
