"""Our own ``scumble`` chunk: the JSON of a job and of how it went, written and read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..errors import ErrorCode, ScumbleError
from ..job import GenerateJob
from ..schema import decode, encode, loads
from .settings import ImageSettings

__all__ = ["read_record", "record"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Record:
    """What of the chunk has a fixed form; beside it lies "provenance", a free table."""

    format: int
    job: GenerateJob
    index: int = 0
    scumble: str = ""


def record(job: GenerateJob, provenance: str, index: int) -> str:
    """``{"format": 1, "scumble": VERSION, "index": I, "job": {...}, "provenance": {...}}``.

    A job inside the provenance is left out: it is the same one. Raises ScumbleError INVALID_FIELD if
    ``provenance`` isn't a JSON object.
    """
    try:
        facts = json.loads(provenance)
    except ValueError as error:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"not JSON: {error}", field="provenance") from error
    if not isinstance(facts, dict):
        raise ScumbleError(ErrorCode.INVALID_FIELD, "expected a JSON object", field="provenance")
    facts.pop("job", None)
    content = encode(_Record(FORMAT, job, index, __version__)) | {"provenance": facts}
    return json.dumps(content, separators=(",", ":"))


def read_record(text: str) -> ImageSettings:
    """The settings of our own chunk. Raises ScumbleError with the path of what can't be: INVALID_FIELD,
    INVALID_MESSAGE for no JSON object at all, UNSUPPORTED for one of a version that isn't known here."""
    content = loads(text)
    if isinstance(content, dict) and content.get("format") != FORMAT:
        message = f"a record of format {str(content.get('format'))[:20]}, which this version of Scumble doesn't know"
        raise ScumbleError(ErrorCode.UNSUPPORTED, message, field="format")
    found: _Record = decode(_Record, content)
    if found.index < 0:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"image {found.index} of a batch can't be", field="index")
    unknown = _unknown(content["job"], encode(found.job), "job")
    notes = (f"Written by Scumble {found.scumble}; not known here: {', '.join(unknown)}",) if unknown else ()
    provenance = json.dumps(content.get("provenance", {}))
    return ImageSettings(found.job, "scumble", found.index, notes=notes, provenance=provenance)


def _unknown(given: Any, known: Any, path: str) -> list[str]:
    """Paths of the fields in ``given`` that reading it has left out."""
    if isinstance(given, list) and isinstance(known, list):
        pairs = enumerate(zip(given, known, strict=True))
        return [name for index, (one, other) in pairs for name in _unknown(one, other, f"{path}[{index}]")]
    if not isinstance(given, dict) or not isinstance(known, dict):
        return []
    names = [f"{path}.{name}" for name in given if name not in known]
    common = (name for name in given if name in known)
    return names + [inner for name in common for inner in _unknown(given[name], known[name], f"{path}.{name}")]
