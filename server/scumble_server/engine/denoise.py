"""The denoise loop: the one place for cancelling, guidance, ControlNets, previews and what other extensions do.

It does what diffusers' pipelines do, in the same order, and gives the same numbers, for every family.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from ..service import JobHooks
from ..upscaling.windows import Windows

__all__ = [
    "FLOW",
    "AtOnce",
    "Extension",
    "Network",
    "Residuals",
    "Step",
    "Text",
    "denoise",
    "signal_of",
    "step_arguments",
    "sum_residuals",
]

FLOW = "flow_prediction"
"""Prediction type of models that were trained on straight lines between image and noise: SD 3, FLUX."""


@dataclass(slots=True)
class AtOnce:
    """images: how many of a batch the network and the ControlNets are shown at a time. Lowered when memory runs out."""

    images: int


@dataclass(frozen=True, slots=True)
class Text:
    """Embeddings, 1 x tokens x width, or one for each image, B x tokens x width. negative: None runs without
    classifier-free guidance. pooled, negative_pooled: of the prompts as a whole, 1 or B x width, for the families that
    have it."""

    positive: torch.Tensor
    negative: torch.Tensor | None
    guidance_scale: float
    pooled: torch.Tensor | None = None
    negative_pooled: torch.Tensor | None = None


@dataclass(slots=True)
class Step:
    """What an extension sees of a step.

    index: 0 ... count - 1. timestep: 0-d tensor. signal: part of the image left in the noise, 0 to 1.
    latents: B x C x h x w, float32, as the scheduler keeps them. model_input: scaled for the network, 2B with guidance
    (negative half first), in the network's number format. text: 2B or B x tokens x width. guidance_scale: for networks
    that take it as an input. pooled: 2B or B x width, for networks that want it. prediction: of the network after
    guidance, B x C x h x w float32; only after it ran. images: which of the batch these are; all of them, except where
    a large batch is shown to the network in parts. Of a large image shown in windows, each is an image of the batch,
    but for :meth:`Extension.predicted` and :meth:`Extension.after_step`; windows: these, of which ``images`` are shown.
    """

    index: int
    count: int
    timestep: torch.Tensor
    signal: torch.Tensor
    latents: torch.Tensor
    model_input: torch.Tensor
    text: torch.Tensor
    prediction_type: str
    prediction: torch.Tensor | None = None
    images: slice = field(default_factory=lambda: slice(None))
    guidance_scale: float = 1.0
    pooled: torch.Tensor | None = None
    windows: Windows | None = None

    def clean(self) -> torch.Tensor:
        """The image as the model sees it at this step, B x C x h x w latents: noise-free, soft at first."""
        assert self.prediction is not None, "there is no prediction before the network ran"
        noisy = self.model_input[-self.prediction.shape[0] :, : self.prediction.shape[1]].float()
        if self.prediction_type == FLOW:
            return noisy - (1.0 - self.signal) * self.prediction
        noise = (1.0 - self.signal**2) ** 0.5
        if self.prediction_type == "v_prediction":
            return self.signal * noisy - noise * self.prediction
        return (noisy - noise * self.prediction) / self.signal.clamp_min(1e-4)

    def moved(self, change: torch.Tensor) -> torch.Tensor:
        """The prediction for which :meth:`clean` would be what it is plus ``change``, B x C x h x w."""
        assert self.prediction is not None, "there is no prediction before the network ran"
        if self.prediction_type == FLOW:
            return self.prediction - change / (1.0 - self.signal).clamp_min(1e-4)
        noise = (1.0 - self.signal**2).clamp_min(1e-8) ** 0.5
        slope = 1.0 if self.prediction_type == "v_prediction" else self.signal
        return self.prediction - change * (slope / noise)


@dataclass(frozen=True, slots=True)
class Residuals:
    """What ControlNets add within the network, one tensor for each place: of a UNet its skip connections and, last, its
    middle; of a transformer its blocks. None: nothing there."""

    parts: Sequence[torch.Tensor | None]


class Network(Protocol):
    """A UNet or a transformer as the loop calls it, whatever it wants to be told."""

    @property
    def dtype(self) -> torch.dtype: ...

    def predict(self, step: Step, appended: Sequence[torch.Tensor], residuals: Residuals | None) -> torch.Tensor:
        """What it makes of ``step.model_input`` with ``appended`` as further channels, shaped like the former."""
        ...


class Extension:
    """Something that takes part in the loop; each method's default is to do nothing."""

    def before_network(self, step: Step) -> None:
        """The network is about to run on this step, or this part of it."""

    def residuals(self, step: Step) -> Residuals | None:
        """What to add within the network."""
        return None

    def network_input(self, step: Step) -> torch.Tensor | None:
        """Channels to append to the network's input, shaped like ``step.model_input`` but for their number."""
        return None

    def predicted(self, step: Step) -> torch.Tensor | None:
        """The prediction to go on with, shaped like ``step.prediction``; None leaves it."""
        return None

    def after_step(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """The latents to go on with. ``step.latents`` are those from before."""
        return latents


@torch.inference_mode()
def denoise(
    network: Network,
    scheduler: Any,
    timesteps: torch.Tensor,
    latents: torch.Tensor,
    text: Text,
    generators: Sequence[torch.Generator],
    extensions: Sequence[Extension],
    hooks: JobHooks,
    at_once: AtOnce | None = None,
    windows: Windows | None = None,
) -> torch.Tensor:
    """Clean latents from noisy ones, B x C x h x w float32.

    scheduler: with its timesteps set, of which ``timesteps`` are the last.
    generators: one per image, for samplers that add noise. at_once: None shows the network the whole batch.
    windows: show the network these parts of a single image, whose predictions are blended in each step, as in
    MultiDiffusion (ICML 2023); so parts that overlap can't drift apart.
    Raises JobCancelled between steps.
    """
    guided = text.negative is not None
    extra = step_arguments(scheduler, generators)
    shown = latents.shape[0] if windows is None else len(windows)
    embeddings = _halves(text.positive, text.negative, shown)
    pooled = None if text.pooled is None else _halves(text.pooled, text.negative_pooled, shown)
    for index, timestep in enumerate(timesteps):
        hooks.check_cancelled()
        scaled = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, timestep)
        step = Step(
            index=index,
            count=len(timesteps),
            timestep=timestep,
            signal=signal_of(scheduler, timestep),
            latents=latents,
            model_input=scaled.to(network.dtype),
            text=embeddings,
            prediction_type=scheduler.config.prediction_type,
            guidance_scale=text.guidance_scale,
            pooled=pooled,
        )
        if windows is not None:
            parts = AtOnce(1) if at_once is None else at_once
            found = _in_parts(network, _cut(step, windows), extensions, text, parts, hooks)
            step.prediction = windows.merge(found)
        elif at_once is None:
            step.prediction = _guided(network, step, extensions, text)
        else:
            step.prediction = _in_parts(network, step, extensions, text, at_once, hooks)
        for extension in extensions:
            changed = extension.predicted(step)
            step.prediction = step.prediction if changed is None else changed
        latents = scheduler.step(step.prediction, timestep, latents, **extra, return_dict=False)[0]
        for extension in extensions:
            latents = extension.after_step(step, latents)
    return latents


def _halves(positive: torch.Tensor, negative: torch.Tensor | None, shown: int) -> torch.Tensor:
    """For each image that is shown, the negative half first."""
    halves = [positive] if negative is None else [negative, positive]
    return torch.cat([half.expand(shown, *[-1] * (half.ndim - 1)) for half in halves])


def _cut(step: Step, windows: Windows) -> Step:
    """The windows of a single image as a batch; negative halves of all windows first."""
    halves = [windows.split(half) for half in step.model_input.chunk(len(step.model_input))]
    latents, model_input = windows.split(step.latents), torch.cat(halves)
    return replace(step, latents=latents, model_input=model_input, windows=windows)


def _in_parts(
    network: Network,
    step: Step,
    extensions: Sequence[Extension],
    text: Text,
    at_once: AtOnce,
    hooks: JobHooks,
) -> torch.Tensor:
    """The same as all at once, but for what rounding makes of another batch size."""
    batch, done = step.latents.shape[0], 0
    found = []
    while done < batch:
        hooks.check_cancelled()
        part = slice(done, min(done + at_once.images, batch))
        try:
            found.append(_guided(network, _part(step, part), extensions, text))
        except torch.OutOfMemoryError:
            if at_once.images == 1:
                raise
            at_once.images = (at_once.images + 1) // 2
            continue
        done = part.stop
    return torch.cat(found)


def _part(step: Step, images: slice) -> Step:
    batch = step.latents.shape[0]
    if images.stop - images.start == batch:
        return step

    def of(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([half[images] for half in values.chunk(len(values) // batch)])

    return replace(
        step,
        images=images,
        latents=step.latents[images],
        model_input=of(step.model_input),
        text=of(step.text),
        pooled=None if step.pooled is None else of(step.pooled),
    )


def _guided(network: Network, step: Step, extensions: Sequence[Extension], text: Text) -> torch.Tensor:
    prediction = _predict(network, step, extensions).float()
    if text.negative is None:
        return prediction
    negative, positive = prediction.chunk(2)
    return negative + text.guidance_scale * (positive - negative)


def _predict(network: Network, step: Step, extensions: Sequence[Extension]) -> torch.Tensor:
    for extension in extensions:
        extension.before_network(step)
    residuals = [item for item in (extension.residuals(step) for extension in extensions) if item is not None]
    appended = [item for item in (extension.network_input(step) for extension in extensions) if item is not None]
    return network.predict(step, appended, sum_residuals(residuals))


def sum_residuals(residuals: Sequence[Residuals]) -> Residuals | None:
    """In order, as diffusers' MultiControlNetModel adds. None for none."""
    if not residuals:
        return None
    return Residuals([_sum(parts) for parts in zip(*(item.parts for item in residuals), strict=True)])


def _sum(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    total = None
    for part in parts:
        total = part if total is None else total if part is None else total + part
    return total


def step_arguments(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, object]:
    """What ``scheduler.step`` takes besides: generators, if it draws noise at all."""
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if takes_generator else {}


def signal_of(scheduler: Any, timestep: torch.Tensor) -> torch.Tensor:
    """Part of the image left at the step that comes next, 0-d.

    From the scheduler's own list of sigmas where it has one: Karras spacing leaves the training schedule."""
    if hasattr(scheduler, "sigmas") and len(scheduler.sigmas) == len(scheduler.timesteps) + 1:
        position = scheduler.step_index if scheduler.step_index is not None else scheduler.begin_index or 0
        if scheduler.config.prediction_type == FLOW:
            return torch.as_tensor(1.0 - scheduler.sigmas[position])
        return torch.as_tensor((1.0 + scheduler.sigmas[position] ** 2) ** -0.5)
    return torch.as_tensor(scheduler.alphas_cumprod[timestep.long().cpu()] ** 0.5)
