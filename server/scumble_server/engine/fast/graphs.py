"""Work recorded once and replayed: no Python, no launching of one kernel after the other, on memory that stays put."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
from torch import Tensor

from .tensors import Given, Made, flat, mapped

__all__ = ["Compute", "Graphs", "Recording", "captured"]

logger = logging.getLogger(__name__)

Compute = Callable[[Given], Made]

SHARE_OF_MEMORY = 0.25
"""Part of a device's memory that recordings may take; beyond it all go, and are made anew as they are wanted."""


class Recording(Protocol):
    """taken: bytes of the device's memory."""

    @property
    def taken(self) -> int: ...

    def replay(self, given: Given) -> Made:
        """What the recorded work makes of tensors of the same shapes. The result is the caller's."""
        ...


Record = Callable[[Compute, Given], Recording]


class Graphs:
    """Recordings by key. record: makes them. budget: bytes.

    Work is done plainly the first time, which also brings whatever it needs into being, and recorded the second time:
    most jobs have more than one step, and what is asked for once isn't worth it.
    """

    def __init__(self, record: Record, budget: int) -> None:
        self._record, self._budget = record, budget
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._recordings: dict[Hashable, Recording] = {}

    def run(self, key: Hashable, compute: Compute, given: Given) -> Made:
        """key: all that decides what ``compute`` does beside the tensors' values."""
        key = (key, tuple((tensor.shape, tensor.dtype) for tensor in flat(given)))
        recording = self._recordings.get(key)
        if recording is None and (key in self._refused or key not in self._seen):
            self._seen.add(key)
            return compute(given)
        if recording is None:
            recording = self._recorded(key, compute, given)
        return compute(given) if recording is None else recording.replay(given)

    def clear(self) -> None:
        self._recordings.clear()
        self._seen.clear()
        self._refused.clear()

    def __len__(self) -> int:
        return len(self._recordings)

    def _recorded(self, key: Hashable, compute: Compute, given: Given) -> Recording | None:
        """None if it can't be: the work then goes on plainly."""
        try:
            recording = self._record(compute, given)
        except torch.OutOfMemoryError:
            self._recordings.clear()
            raise
        except RuntimeError as error:
            # What a capture doesn't allow is told as RuntimeError by CUDA and by PyTorch alike.
            self._refused.add(key)
            logger.warning("a step can't be recorded as a graph and runs plainly: %s", str(error).partition("\n")[0])
            return None
        if sum(held.taken for held in self._recordings.values()) + recording.taken > self._budget:
            self._recordings.clear()
        self._recordings[key] = recording
        return recording


def captured(device: torch.device) -> Graphs:
    """CUDA graphs of one device, in one pool of memory: they never run at the same time, and what they give is copied
    out at once."""
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    budget = int(torch.cuda.get_device_properties(device).total_memory * SHARE_OF_MEMORY)
    return Graphs(lambda compute, given: _Captured(compute, given, stream, pool), budget)


class _Captured:
    def __init__(self, compute: Compute, given: Given, stream: torch.cuda.Stream, pool: Any) -> None:
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

    def replay(self, given: Given) -> Made:
        bind(self._static, given, self._bound)
        self._graph.replay()
        return mapped(self._made, Tensor.clone)


def bind(static: Given, given: Given, bound: list[Tensor]) -> None:
    """Copies into ``static`` what isn't there yet: prompts and control images are the same tensors step after step.
    bound: what was copied last; kept up to date."""
    for place, (target, source) in enumerate(zip(flat(static), flat(given), strict=True)):
        if bound[place] is not source:
            target.copy_(source, non_blocking=True)
            bound[place] = source
