"""A small least-recently-used cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Cache"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Keeps the ``capacity`` values used last. dropped: told of each value that goes."""

    def __init__(self, capacity: int, dropped: Callable[[Value], None] = lambda value: None) -> None:
        self._capacity = capacity
        self._dropped = dropped
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made if it isn't there; what is too old goes before, so that both needn't fit."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._capacity:
            self._dropped(self._values.popitem(last=False)[1])
        value = self._values[key] = make()
        return value

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        while self._values:
            self._dropped(self._values.popitem(last=False)[1])
