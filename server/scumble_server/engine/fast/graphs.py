"""Work recorded once and replayed: no Python, no launching of one kernel after the other, on memory that stays put."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .tensors import flat, mapped

__all__ = ["Graphs", "Recording", "bind", "captured", "weights_of"]

logger = logging.getLogger(__name__)

Given = TypeVar("Given")
Made = TypeVar("Made")

SHARE_OF_MEMORY = 0.25
"""Part of a device's memory that recordings may take; beyond it all go, and are made anew as they are wanted."""

_weights: WeakKeyDictionary[Any, list[Tensor]] = WeakKeyDictionary()


class Recording(Protocol):
    """taken: bytes of the device's memory."""

    @property
    def taken(self) -> int: ...

    def replay(self, given: Any) -> Any:
        """What the recorded work makes of tensors of the same shapes. The result is the caller's."""
        ...


Record = Callable[[Callable[[Any], Any], Any], Recording]


class Graphs:
    """Recordings by key, of functions from tensors to tensors (:mod:`.tensors`). record: makes them. budget: bytes.

    Work is done plainly the first time, which also brings whatever it needs into being, and recorded the second time:
    most jobs have more than one step, and what is asked for once isn't worth it. What can't be recorded, or takes more
    memory than there is, goes on being done plainly.
    """

    def __init__(self, record: Record, budget: int) -> None:
        self._record, self._budget = record, budget
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._recordings: dict[Hashable, Recording] = {}

    def run(self, key: Hashable, compute: Callable[[Given], Made], given: Given, may_record: bool = True) -> Made:
        """key: all that decides what ``compute`` does beside the tensors' values."""
        key = (key, tuple((tensor.shape, tensor.dtype) for tensor in flat(given)))
        if key in self._seen and may_record and key not in self._refused and key not in self._recordings:
            self._add(key, compute, given)
        self._seen.add(key)
        if key in self._recordings:
            return self._recordings[key].replay(given)  # type: ignore[no-any-return]
        try:
            return compute(given)
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
            self.clear()
            return compute(given)

    def clear(self) -> None:
        """Give back the memory of all recordings."""
        self._recordings.clear()
        torch.cuda.empty_cache()

    def __len__(self) -> int:
        return len(self._recordings)

    def _add(self, key: Hashable, compute: Callable[[Any], Any], given: Any) -> None:
        try:
            recording = self._record(compute, given)
        except RuntimeError as error:  # what a capture doesn't allow, and what there is no memory for
            self._refused.add(key)
            if isinstance(error, torch.OutOfMemoryError):
                self.clear()
            logger.warning("a step can't be recorded as a graph and runs plainly: %s", str(error).partition("\n")[0])
            return
        if recording.taken > self._budget:
            self._refused.add(key)
            return
        if sum(held.taken for held in self._recordings.values()) + recording.taken > self._budget:
            self.clear()
        self._recordings[key] = recording


def captured(device: torch.device) -> Graphs:
    """CUDA graphs of one device, in one pool of memory: they never run at the same time, and what they give is copied
    out at once."""
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    budget = int(torch.cuda.get_device_properties(device).total_memory * SHARE_OF_MEMORY)
    return Graphs(lambda compute, given: _Captured(compute, given, stream, pool), budget)


class _Captured:
    def __init__(self, compute: Callable[[Any], Any], given: Any, stream: torch.cuda.Stream, pool: Any) -> None:
        device = stream.device
        before = torch.cuda.memory_reserved(device)
        self._static = mapped(given, Tensor.clone)
        self._bound = list(flat(given))
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            compute(self._static)  # libraries make their workspaces for a stream when they first see it
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device meanwhile.
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._made = compute(self._static)
        self.taken = max(0, torch.cuda.memory_reserved(device) - before)

    def replay(self, given: Any) -> Any:
        bind(self._static, given, self._bound)
        self._graph.replay()
        return mapped(self._made, Tensor.clone)


def bind(static: object, given: object, bound: list[Tensor]) -> None:
    """Copies into ``static`` what isn't there yet: prompts and control images are the same tensors step after step.
    bound: what was copied last; kept up to date."""
    for place, (target, source) in enumerate(zip(flat(static), flat(given), strict=True)):
        if bound[place] is not source:
            target.copy_(source, non_blocking=True)
            bound[place] = source


def weights_of(module: Any) -> list[Tensor]:
    """A module's. Looked up once: a thousand parameters take longer to find than to ask where they are."""
    if module not in _weights:
        _weights[module] = list(module.parameters())
    return _weights[module]
