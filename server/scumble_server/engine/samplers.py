"""Sampler names and the diffusers schedulers behind them: one table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["TABLE", "make_scheduler"]

TABLE: Mapping[str, tuple[Any, Mapping[str, object]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),  # its default is for models of pixels, not of latents
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
"""Name -> scheduler class and what differs from its defaults."""


def make_scheduler(sampler: str, config: Mapping[str, object]) -> Any:
    """A fresh scheduler on the model's noise schedule.

    config: the model's scheduler configuration, of whatever class; settings that this sampler doesn't have are left
    out, the others kept, as ``Scheduler.from_config`` does. Raises ScumbleError UNSUPPORTED.
    """
    if sampler not in TABLE:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"no sampler is called {sampler[:80]!r}; there are {', '.join(TABLE)}",
            field="job.sampler",
        )
    scheduler_class, settings = TABLE[sampler]
    known = inspect.signature(scheduler_class.__init__).parameters
    kept = {key: value for key, value in config.items() if key in known}
    return scheduler_class(**{**kept, **settings})
