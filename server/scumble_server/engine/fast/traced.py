"""Recordings for devices that have no graphs: the work's operations, one after the other, as they were the first time.

Nothing is gained by it. But like a CUDA graph it does what was recorded on the memory that was there, whatever wasn't
a tensor then is built in, and asking for a value is an error: so tests and rehearsals on a CPU find what a graph on a
GPU would get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .graphs import Graphs, bind
from .tensors import flat, mapped

__all__ = ["WaitError", "traced"]

BUDGET = 2**40
ASKING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
"""Operations whose result the host has to wait for."""


class WaitError(RuntimeError):
    """What was to be recorded asks the device for a value."""


def traced() -> Graphs:
    return Graphs(_Traced, BUDGET)


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """All operations within, with their arguments and results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if operation in ASKING:
            raise WaitError(f"{operation} has to be waited for")
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result


class _Traced:
    taken = 0

    def __init__(self, compute: Callable[[Any], Any], given: Any) -> None:
        self._static = mapped(given, Tensor.clone)
        self._bound = list(flat(given))
        tape = _Tape()
        with tape:
            self._made = compute(self._static)
        self._operations = tape.operations

    def replay(self, given: Any) -> Any:
        bind(self._static, given, self._bound)
        now: dict[int, Tensor] = {}

        def current(tensor: Tensor) -> Tensor:
            return now.get(id(tensor), tensor)

        for operation, args, kwargs, before in self._operations:
            result = operation(*tree_map_only(Tensor, current, args), **tree_map_only(Tensor, current, kwargs))
            for old, new in zip(tree_leaves(before), tree_leaves(result), strict=True):
                if isinstance(old, Tensor):
                    now[id(old)] = new
        return mapped(self._made, lambda tensor: current(tensor).clone())
