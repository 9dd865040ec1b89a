"""Work that doesn't wait for each other side by side on one GPU, which none of it fills at one picture a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

First = TypeVar("First")
Other = TypeVar("Other")

_streams: dict[torch.device, list[torch.cuda.Stream]] = {}


def side_by_side(
    device: torch.device, first: Callable[[], First], others: Sequence[Callable[[], Other]]
) -> tuple[First, list[Other]]:
    """What they give. On other devices than CUDA's one after the other, ``others`` first.

    On CUDA each of ``others`` has a stream of its own and must keep what it gives alive until all are done, which
    whoever holds the results does. The streams meet again before this returns, as graphs that are being captured want.
    """
    if device.type != "cuda" or not others:
        found = [other() for other in others]
        return first(), found
    current = torch.cuda.current_stream(device)
    streams = _streams.setdefault(device, [])
    streams += [torch.cuda.Stream(device) for _ in range(len(others) - len(streams))]  # type: ignore[no-untyped-call]
    found = []
    for stream, other in zip(streams, others, strict=False):
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            found.append(other())
    own = first()
    for stream in streams[: len(others)]:
        current.wait_stream(stream)
    return own, found
