"""What stays loaded between jobs: as much as there is room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ...memory.machine import Bytes

__all__ = ["Kept"]

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values with what they take; those that were used last go last. room: for all of them and the work that is done
    with them. dropped: told of each value that goes."""

    def __init__(self, room: Bytes, dropped: Callable[[Value], None]) -> None:
        self._room, self._dropped = room, dropped
        self._values: OrderedDict[Hashable, tuple[Value, Bytes, Hashable]] = OrderedDict()
        self._wanted: set[Hashable] = set()
        self._working = Bytes()

    def begin(self, working: Bytes) -> None:
        """A job begins, which takes ``working`` beside what it asks for from now on; that stays until the next one."""
        self._wanted.clear()
        self._working = working

    def get(self, key: Hashable, takes: Bytes, make: Callable[[], Value], owner: Hashable = None) -> Value:
        """The value of ``key``, made if it isn't there; what isn't wanted goes before, so that both needn't fit.

        owner: key of a value without which this one means nothing; they go together.
        """
        self._wanted.add(key)
        if key in self._values:
            self._values.move_to_end(key)
        self._make_room(Bytes() if key in self._values else takes)
        if key not in self._values:
            self._values[key] = make(), takes, owner
        return self._values[key][0]

    def values(self) -> list[Value]:
        return [value for value, _, _ in self._values.values()]

    def idle(self) -> list[Value]:
        """What the present job didn't ask for."""
        return [value for key, (value, _, _) in self._values.items() if key not in self._wanted]

    @property
    def taken(self) -> Bytes:
        total = Bytes()
        for _, takes, _ in self._values.values():
            total = total + takes
        return total

    def __len__(self) -> int:
        return len(self._values)

    def clear(self, wanted_too: bool = True) -> int:
        """Drop all, or all that the present job didn't ask for; how many those were."""
        before = len(self._values)
        for key in list(self._values):
            if wanted_too or key not in self._wanted:
                self._drop(key)
        return before - len(self._values)

    def _make_room(self, takes: Bytes) -> None:
        for key in list(self._values):
            if (self.taken + takes + self._working).fits(self._room):
                return
            if key not in self._wanted:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key not in self._values:
            return
        for other in [name for name, (_, _, owner) in self._values.items() if owner == key]:
            self._drop(other)
        self._dropped(self._values.pop(key)[0])
