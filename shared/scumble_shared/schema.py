"""Dataclasses to JSON values and back, strictly: what doesn't fit its annotation is refused by name.

Understood annotations: dataclasses, ``str``, ``int``, ``float``, ``bool``, ``Literal``, ``StrEnum``, ``X | None``,
``tuple[X, ...]``, ``tuple[X, Y]``, and unions of dataclasses told apart by a ``Literal`` field called ``type`` or
``task``. Unknown fields are ignored, so that a newer peer can say more; missing fields take their default.

Both directions raise :class:`ScumbleError` and nothing else, whatever they are given: INVALID_MESSAGE for what isn't
a message at all, INVALID_FIELD with a path such as ``job.controls[1].strength`` for a value that can't be, and
UNSUPPORTED for a ``type`` or ``task`` nobody here knows: what a newer peer says, not garbage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ErrorCode, ScumbleError

__all__ = ["decode", "dumps", "encode", "loads"]

T = TypeVar("T")
Reader = Callable[[Any, str], Any]
"""(JSON value, path for errors) -> value of the annotated type."""

TAGS = ("type", "task")
INT_MAX = 2**63 - 1


def loads(text: str | bytes) -> Any:
    """JSON text -> JSON value. NaN and Infinity aren't JSON. Raises ScumbleError INVALID_MESSAGE."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ScumbleError(ErrorCode.INVALID_MESSAGE, f"not JSON: {error}") from None


def dumps(value: object) -> str:
    """A dataclass -> compact JSON text. Raises ScumbleError INVALID_FIELD for a value that can't travel."""
    return json.dumps(encode(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: object) -> Any:
    """A dataclass (or what may be a field of one) -> JSON value. Raises ScumbleError INVALID_FIELD."""
    return _encode(value, "")


def decode(kind: Any, value: object) -> Any:
    """JSON value -> instance of ``kind``: a dataclass, or a union of tagged ones.

    Raises ScumbleError INVALID_MESSAGE if ``value`` is none of ``kind``, INVALID_FIELD for a field that doesn't fit,
    UNSUPPORTED for a tag that none of the union has.
    """
    return _reader(kind)(value, "")


# --- encoding ---------------------------------------------------------------------------------------


def _encode(value: object, path: str) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return str(_checked_str(value, path))
        case int():
            return _checked_int(value, path)
        case float():
            return _checked_float(value, path)
        case tuple():
            return [_encode(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encode(getattr(value, field.name), _join(path, field.name)) for field in fields(value)}
    raise _misfit(path, f"{type(value).__name__} can't travel")


# --- decoding ---------------------------------------------------------------------------------------


@cache
def _reader(kind: Any) -> Reader:
    """The function that reads an annotation; made once for each."""
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return scalar
    origin = get_origin(kind)
    if origin is Literal:
        return _literal_reader(get_args(kind))
    if origin is tuple:
        return _tuple_reader(get_args(kind))
    if origin in (UnionType, Union):
        return _union_reader(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum_reader(kind)
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    raise TypeError(f"no JSON form for {kind!r}")


def _dataclass_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _misfit(path, f"expected an object, got {_name(value)}")
        given = {}
        for name, reader in readers.items():
            if name in value:
                given[name] = reader(value[name], _join(path, name))
            elif name not in optional:
                raise _misfit(_join(path, name), "is missing")
        return kind(**given)

    return read


def _union_reader(kinds: tuple[Any, ...]) -> Reader:
    members = [kind for kind in kinds if kind is not NoneType]
    read = _reader(members[0]) if len(members) == 1 else _tagged_reader(members)
    if len(members) == len(kinds):
        return read
    return lambda value, path: None if value is None else read(value, path)


def _tagged_reader(kinds: list[Any]) -> Reader:
    tag = next(name for name in TAGS if all(any(f.name == name for f in fields(kind)) for kind in kinds))
    readers: dict[str, Reader] = {}
    for kind in kinds:
        for word in get_args(get_type_hints(kind)[tag]):
            readers[word] = _reader(kind)

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _misfit(path, f"expected an object, got {_name(value)}")
        word = value.get(tag)
        if not isinstance(word, str):
            raise _misfit(path, f"has no {tag}")
        if word not in readers:
            known = ", ".join(sorted(readers))
            raise ScumbleError(
                ErrorCode.UNSUPPORTED, f"{_short(word)} isn't known here; known are {known}", field=_join(path, tag)
            )
        return readers[word](value, path)

    return read


def _tuple_reader(items: tuple[Any, ...]) -> Reader:
    if len(items) == 2 and items[1] is Ellipsis:
        item = _reader(items[0])

        def read_many(value: Any, path: str) -> Any:
            _check_list(value, path)
            return tuple(item(entry, f"{path}[{index}]") for index, entry in enumerate(value))

        return read_many
    readers = [_reader(entry) for entry in items]

    def read_fixed(value: Any, path: str) -> Any:
        _check_list(value, path)
        if len(value) != len(readers):
            raise _misfit(path, f"expected {len(readers)} values, got {len(value)}")
        return tuple(reader(value[index], f"{path}[{index}]") for index, reader in enumerate(readers))

    return read_fixed


def _literal_reader(words: tuple[Any, ...]) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise _misfit(path, f"expected {' or '.join(map(repr, words))}, got {_short(value)}")
        return value

    return read


def _enum_reader(kind: type[StrEnum]) -> Reader:
    words: Mapping[str, StrEnum] = {member.value: member for member in kind}

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise _misfit(path, f"expected one of {', '.join(words)}, got {_short(value)}")
        return words[value]

    return read


def _read_str(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _misfit(path, f"expected text, got {_name(value)}")
    return _checked_str(value, path)


def _read_bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _misfit(path, f"expected true or false, got {_name(value)}")
    return value


def _read_int(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(path, f"expected a whole number, got {_name(value)}")
    return _checked_int(value, path)


def _read_float(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _misfit(path, f"expected a number, got {_name(value)}")
    return _checked_float(value, path)


_SCALARS: Mapping[Any, Reader] = {str: _read_str, bool: _read_bool, int: _read_int, float: _read_float}


# --- checks and words for errors --------------------------------------------------------------------


def _checked_str(value: str, path: str) -> str:
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _misfit(path, "text has half of a surrogate pair")
    return value


def _checked_int(value: int, path: str) -> int:
    if not -INT_MAX - 1 <= value <= INT_MAX:
        raise _misfit(path, "number doesn't fit 64 bits")
    return value


def _checked_float(value: float, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _misfit(path, "expected a finite number")
    return number


def _check_list(value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise _misfit(path, f"expected a list, got {_name(value)}")


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def _misfit(path: str, message: str) -> ScumbleError:
    code = ErrorCode.INVALID_FIELD if path else ErrorCode.INVALID_MESSAGE
    return ScumbleError(code, message, field=path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", NoneType: "null"}
    return names.get(type(value), "a number")


def _short(value: Any) -> str:
    return ascii(value)[:60] if isinstance(value, str | int | float | NoneType) else _name(value)
