"""Sampler names and the diffusers schedulers behind them: a table for models of noise, one for models of flow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from scumble_shared.errors import ErrorCode, ScumbleError

from .denoise import FLOW

__all__ = ["EVEN_SIGMAS", "FLOW_TABLE", "TABLE", "FlowEuler", "make_scheduler"]

EVEN_SIGMAS = "even_sigmas"
"""In a model's scheduler configuration: noise goes from 1 to 1 / steps evenly, before it is shifted (FLUX)."""


class FlowEuler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Euler's method along the flow from noise to image, with what other schedulers have and the original lacks.

    even_sigmas: see :data:`EVEN_SIGMAS`. mu: logarithm of the shift, where the model's goes by the picture's size.
    """

    init_noise_sigma = 1.0

    def __init__(self, even_sigmas: bool = False, mu: float | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_to_config(prediction_type=FLOW)
        self._even, self._mu = even_sigmas, mu

    def set_timesteps(self, num_inference_steps: int, device: torch.device | None = None) -> None:
        sigmas = np.linspace(1.0, 1.0 / num_inference_steps, num_inference_steps) if self._even else None
        super().set_timesteps(num_inference_steps, device=device, sigmas=sigmas, mu=self._mu)

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return sample

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return self.scale_noise(clean, timesteps, noise)  # type: ignore[no-any-return]


Table = Mapping[str, tuple[Any, Mapping[str, object]]]

TABLE: Table = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),  # its default is for models of pixels, not of latents
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}
"""Name -> scheduler class and what differs from its defaults."""

FLOW_TABLE: Table = {
    "euler": (FlowEuler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"use_flow_sigmas": True, "prediction_type": FLOW}),
    "unipc": (UniPCMultistepScheduler, {"use_flow_sigmas": True, "prediction_type": FLOW}),
}


def make_scheduler(sampler: str, config: Mapping[str, object], tokens: int = 0) -> Any:
    """A fresh scheduler on the model's noise schedule.

    config: the model's scheduler configuration, of whatever class; settings that this sampler doesn't have are left
    out, the others kept, as ``Scheduler.from_config`` does. tokens: what a transformer sees of the picture.
    Raises ScumbleError UNSUPPORTED.
    """
    is_flow = config.get("prediction_type") == FLOW
    table = FLOW_TABLE if is_flow else TABLE
    if sampler not in table:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{'this model' if sampler in TABLE else 'nobody'} knows no sampler {sampler[:80]!r}; "
            f"there are {', '.join(table)}",
            field="job.sampler",
        )
    scheduler_class, settings = table[sampler]
    if scheduler_class is FlowEuler:
        known = inspect.signature(FlowMatchEulerDiscreteScheduler.__init__).parameters
        mu = _mu(config, tokens) if config.get("use_dynamic_shifting") else None
        kept = {key: value for key, value in config.items() if key in known}
        return FlowEuler(even_sigmas=bool(config.get(EVEN_SIGMAS)), mu=mu, **kept)
    known = inspect.signature(scheduler_class.__init__).parameters
    kept = {key: value for key, value in config.items() if key in known}
    if is_flow:
        kept |= {"flow_shift": _shift(config, tokens), "use_dynamic_shifting": False}
    return scheduler_class(**{**kept, **settings})


def _shift(config: Mapping[str, Any], tokens: int) -> float:
    """By how much noise is dwelt on longer: odds of noise to image are multiplied by it."""
    return math.exp(_mu(config, tokens)) if config.get("use_dynamic_shifting") else float(config.get("shift", 1.0))


def _mu(config: Mapping[str, Any], tokens: int) -> float:
    """Larger pictures need more noise: linear in what the transformer sees, as in diffusers' ``calculate_shift``."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high - low) / (many - few)
    return float(tokens * slope + low - slope * few)
