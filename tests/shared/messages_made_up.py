"""Hypothesis strategies for every message of the protocol, built from the dataclasses' own annotations."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import ClientMessage, Preview, Result, ServerMessage, Upload

WITH_TENSORS = (Upload, Preview, Result)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def of(kind: Any) -> st.SearchStrategy:
    """Values of an annotation."""
    origin, arguments = get_origin(kind), get_args(kind)
    scalar = {str: TEXTS, int: INTS, float: FLOATS, bool: st.booleans(), NoneType: st.none()}.get(kind)
    if scalar is not None:
        return scalar
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (UnionType, Union):
        return st.one_of(*map(of, arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of, arguments))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    assert is_dataclass(kind), kind
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: of(hints[field.name]) for field in fields(kind)})


def error_code(action: Callable[[], object]) -> ErrorCode | None:
    """None if ``action`` succeeds. Only the protocol's own errors are caught."""
    try:
        action()
    except ScumbleError as error:
        return error.code
    return None


text_messages = st.one_of(
    *(of(kind) for kind in (*get_args(ClientMessage), *get_args(ServerMessage)) if kind not in WITH_TENSORS)
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_lowercase, max_size=8), inner),
    max_leaves=12,
)
