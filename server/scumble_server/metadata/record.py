"""Our own ``scumble`` chunk: the JSON of a job and of how it went, written and read back."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob

from .settings import ImageSettings

__all__ = ["read_record", "record"]

FORMAT = 1


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
    content = {"format": FORMAT, "scumble": __version__, "index": index, "job": asdict(job), "provenance": facts}
    return json.dumps(content, separators=(",", ":"))


def read_record(text: str) -> ImageSettings:
    """The settings of our own chunk. Raises ScumbleError INVALID_FIELD with the path of what can't be."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused("scumble", "is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _refused("scumble.format", "is of another version of Scumble; update to read it")
    index = content.get("index", 0)
    if type(index) is not int or index < 0:
        raise _refused("scumble.index", "expected a whole number")
    unknown: list[str] = []
    job = _value(GenerateJob, content.get("job"), "job", unknown)
    notes = (f"Written by Scumble {content.get('scumble')}; not known here: {', '.join(unknown)}",) if unknown else ()
    return ImageSettings(job, "scumble", index, notes=notes, provenance=json.dumps(content.get("provenance", {})))


def _refused(path: str, problem: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, problem, field=path)


def _value(hint: Any, value: Any, path: str, unknown: list[str]) -> Any:
    """``value`` from JSON as the type ``hint`` of a job's field; names that job doesn't have go to ``unknown``."""
    origin = get_origin(hint)
    if is_dataclass(hint):
        return _dataclass(hint, value, path, unknown)
    if origin is tuple:
        return _tuple(get_args(hint), value, path, unknown)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _value(next(item for item in get_args(hint) if item is not type(None)), value, path, unknown)
    if origin is Literal:
        if value not in get_args(hint):
            raise _refused(path, f"expected one of {get_args(hint)}")
        return value
    if hint is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is not hint:
        raise _refused(path, f"expected {hint.__name__}, got {type(value).__name__}")
    return value


def _dataclass(kind: Any, value: Any, path: str, unknown: list[str]) -> Any:
    if not isinstance(value, Mapping):
        raise _refused(path, "expected an object")
    hints = typing.get_type_hints(kind)
    unknown += [f"{path}.{name}" for name in value if name not in hints]
    missing = [item.name for item in fields(kind) if item.default is MISSING and item.name not in value]
    if missing:
        raise _refused(f"{path}.{missing[0]}", "is missing")
    known = {name: item for name, item in value.items() if name in hints}
    return kind(**{name: _value(hints[name], item, f"{path}.{name}", unknown) for name, item in known.items()})


def _tuple(items: tuple[Any, ...], value: Any, path: str, unknown: list[str]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _refused(path, "expected a list")
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise _refused(path, f"expected {len(items)} items, got {len(value)}")
    return tuple(
        _value(item, part, f"{path}[{number}]", unknown)
        for number, (item, part) in enumerate(zip(items, value, strict=True))
    )
