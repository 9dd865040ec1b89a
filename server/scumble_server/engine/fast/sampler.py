"""Any diffusers scheduler as a table of numbers, so that a step waits for nothing.

The schedulers look up timesteps and sigmas in tensors as they go, which on a GPU makes the host wait for all that was
asked of the device. But each of their steps is linear in the latents, predictions and noise so far. Its coefficients
are found by running the scheduler itself, on the CPU, on unit vectors.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..cache import Cache
from ..denoise import FLOW, signal_of, step_arguments

__all__ = ["TabledSampler"]

PROBE_SEED = 1
NEGLIGIBLE = 1e-6
"""Coefficients below this share of a step's largest are rounding errors of the probe."""

TABLES_KEPT = 16
"""Live mode asks for the same few again and again, and a probe takes milliseconds."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One step, i: the next latents are ``noise`` times fresh noise, plus ``on_latents[k]`` times the latents of step
    i - k, plus ``on_predictions[k]`` times the prediction of step i - k, for all k.

    scale: of the network's input. signal: see :class:`..denoise.Step`. shares: of a clean image and of noise in what is
    as noisy as the latents are before this step.
    """

    scale: float
    signal: float
    shares: tuple[float, float]
    on_latents: tuple[float, ...]
    on_predictions: tuple[float, ...]
    noise: float


_tables: Cache[object, list[_Row]] = Cache(TABLES_KEPT)


class TabledSampler:
    """What the denoise loop asks of a scheduler, for the steps ``timesteps`` of ``scheduler``, which stays unchanged.

    Equal to the scheduler but for rounding (tests/server/engine/fast/test_sampler.py). Noise is drawn on the CPU, in
    the scheduler's order, and sent without waiting. timesteps: on the CPU.
    """

    order = 1

    def __init__(self, scheduler: Any, timesteps: torch.Tensor) -> None:
        self.config = scheduler.config
        self.init_noise_sigma = scheduler.init_noise_sigma
        self.timesteps = timesteps.cpu()
        self._times = self.timesteps.tolist()
        self._rows = _tables.get(_key(scheduler, self._times), lambda: _probe(scheduler, self.timesteps))
        self.sigmas = torch.tensor([*(_sigma(row, self.config.prediction_type) for row in self._rows), 0.0])
        self._reach = max(len(row.on_latents) for row in self._rows)
        self._index = 0
        self._latents: list[torch.Tensor] = []
        self._predictions: list[torch.Tensor] = []

    @property
    def step_index(self) -> int:
        """Of the step that comes next."""
        return self._index

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        scale = self._rows[self._index].scale
        return sample if scale == 1.0 else sample * scale

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """All images as noisy as they are at the first of ``timesteps``, which is one of :attr:`timesteps`."""
        coming = self._times.index(timesteps[0].item(), self._index)
        of_clean, of_noise = self._rows[coming].shares
        return clean * of_clean + noise * of_noise

    def step(
        self,
        prediction: torch.Tensor,
        timestep: torch.Tensor,
        sample: torch.Tensor,
        generator: Sequence[torch.Generator] = (),
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """Latents after the step, B x C x h x w float32."""
        row = self._rows[self._index]
        self._index += 1
        self._latents = [sample, *self._latents][: self._reach]
        self._predictions = [prediction, *self._predictions][: self._reach]
        terms = [
            *zip(row.on_latents, self._latents, strict=False),
            *zip(row.on_predictions, self._predictions, strict=False),
        ]
        if row.noise != 0.0:
            terms.append((row.noise, _drawn(sample, generator)))
        total = torch.zeros_like(sample)
        for factor, values in terms:
            if factor != 0.0:
                total = total.add(values, alpha=factor)
        return (total,)


def _drawn(like: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """As diffusers' ``randn_tensor`` draws with a list of CPU generators."""
    noise = torch.cat([torch.randn((1, *like.shape[1:]), generator=generator) for generator in generators])
    if like.device.type != "cuda":
        return noise.to(like.device)
    return noise.pin_memory().to(like.device, non_blocking=True)


def _sigma(row: _Row, prediction_type: str) -> float:
    if prediction_type == FLOW:
        return 1.0 - row.signal
    return (1.0 / row.signal**2 - 1.0) ** 0.5 if row.signal > 0.0 else float("inf")


def _key(scheduler: Any, times: Sequence[float]) -> object:
    """All that a table depends on: a scheduler is its class, its settings and the noise levels it goes through."""
    levels = getattr(scheduler, "sigmas", scheduler.timesteps).tolist()
    settings = sorted((name, str(value)) for name, value in scheduler.config.items())
    return type(scheduler), tuple(settings), tuple(levels), tuple(times)


def _probe(original: Any, timesteps: torch.Tensor) -> list[_Row]:
    """Row of each step. All latents and predictions are unit vectors of their own, and one place more is zero in each
    of them: what comes out there is noise alone."""
    scheduler = copy.deepcopy(original)
    scheduler.timesteps = scheduler.timesteps.cpu()
    generator, twin = (torch.Generator("cpu").manual_seed(PROBE_SEED) for _ in range(2))
    extra = step_arguments(scheduler, [generator])
    size = 2 * len(timesteps) + 1
    units = torch.eye(size).view(size, 1, size, 1, 1)
    rows = []
    for index, timestep in enumerate(timesteps):
        latents, prediction = units[2 * index], units[2 * index + 1]
        shares = scheduler.add_noise(latents, prediction, timestep.reshape(1))[0, 2 * index : 2 * index + 2]
        signal = float(signal_of(scheduler, timestep))
        scale = float(scheduler.scale_model_input(latents, timestep)[0, 2 * index])
        before = generator.get_state()
        after = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0].flatten().double()
        noise = 0.0
        if not torch.equal(before, generator.get_state()):
            drawn = torch.randn(1, size, 1, 1, generator=twin).flatten().double()
            noise = float(after[-1] / drawn[-1])
            after = after - noise * drawn
        rows.append(_Row(scale, signal, tuple(shares.flatten().tolist()), *_coefficients(after, index), noise))
    return rows


def _coefficients(after: torch.Tensor, index: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """On latents and on predictions, the latest first, as far back as any. after: in turns, the oldest first."""
    after = torch.where(after.abs() > NEGLIGIBLE * after[:-1].abs().max(), after, 0.0)
    pairs = after[: 2 * index + 2].view(-1, 2).flip(0)
    used = int(torch.nonzero(pairs.abs().sum(1)).max()) + 1
    on_latents, on_predictions = pairs[:used].unbind(1)
    return tuple(on_latents.tolist()), tuple(on_predictions.tolist())
