"""How far the host may run ahead of a device that does as it is told later."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from ..denoise import Extension, Step

__all__ = ["Pace"]

AHEAD = 2
"""Steps that may be waiting or running on the device: enough that it never idles, few enough that a cancelled job ends
within a step and that progress means something."""


class Pace(Extension):
    """For CUDA: waits for the step before the last, never for what was just asked for."""

    def __init__(self) -> None:
        self._asked: deque[torch.cuda.Event] = deque()

    def after_step(self, step: Step, latents: Tensor) -> Tensor:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._asked.append(event)
        if len(self._asked) > AHEAD:
            self._asked.popleft().synchronize()
        return latents
