"""Whether a library job makes sense, before the server looks at a disk or a network."""

from __future__ import annotations

import re

from .checks import invalid, quoted
from .errors import ErrorCode, Remedy, ScumbleError
from .library import LIBRARY_ACTIONS, LibraryJob
from .limits import Limits

__all__ = ["check_library"]

TEXT_BYTES = 4096
FILES = 64


def check_library(job: LibraryJob, limits: Limits) -> None:
    """Raises ScumbleError for the first thing wrong. Names are looked at once more where they become files."""
    if job.action not in LIBRARY_ACTIONS:
        raise invalid("job.action", f"{quoted(job.action)} isn't one; there are {', '.join(LIBRARY_ACTIONS)}")
    texts = {name: getattr(job, name) for name in ("target", "revision", "sha256", "model_id", "licence")}
    texts |= {f"files[{index}]": file for index, file in enumerate(job.files[:FILES])}
    for name, text in texts.items():
        _check_text(text, f"job.{name}", limits)
    if len(job.files) > FILES:
        raise ScumbleError(ErrorCode.TOO_LARGE, f"at most {FILES} files are accepted", field="job.files")
    if job.action != "list" and not job.target.strip():
        raise invalid("job.target", f"{job.action} needs to be told what")
    if job.sha256 and not re.fullmatch("[0-9a-fA-F]{64}", job.sha256):
        raise invalid("job.sha256", "a SHA-256 has 64 hex digits")
    if job.action == "delete" and not job.confirmed:
        remedy = Remedy("Say that it is meant")
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, "deleting a model can't be undone", field="job.confirmed", remedy=remedy
        )


def _check_text(text: str, path: str, limits: Limits) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > min(TEXT_BYTES, limits.text_bytes):
        raise ScumbleError(ErrorCode.TOO_LARGE, f"at most {TEXT_BYTES} bytes are accepted", field=path)
    if any(character < " " or character == "\x7f" for character in text):
        raise invalid(path, "control characters aren't part of any name")
