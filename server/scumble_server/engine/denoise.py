"""The denoise loop: the one place for cancelling, guidance, ControlNets, previews and what other extensions do.

It does what diffusers' Stable Diffusion pipelines do, in the same order, and gives the same numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..service import JobHooks
from ..upscaling.windows import Windows

__all__ = ["AtOnce", "Extension", "Residuals", "Step", "Text", "denoise"]


@dataclass(slots=True)
class AtOnce:
    """images: how many of a batch the UNet and the ControlNets are shown at a time. Lowered when memory runs out."""

    images: int


@dataclass(frozen=True, slots=True)
class Text:
    """Embeddings, 1 x tokens x width, or one for each image, B x tokens x width. negative: None runs without
    classifier-free guidance."""

    positive: torch.Tensor
    negative: torch.Tensor | None
    guidance_scale: float


@dataclass(slots=True)
class Step:
    """What an extension sees of a step.

    index: 0 ... count - 1. timestep: 0-d tensor. signal: part of the image left in the noise, 0 to 1.
    latents: B x C x h x w, float32, as the scheduler keeps them. model_input: scaled for the UNet, 2B with guidance
    (negative half first), in the UNet's number format. text: 2B or B x tokens x width. prediction: of the UNet after
    guidance, B x C x h x w float32; only after the UNet ran. images: which of the batch these are; all of them, except
    where a large batch is shown to the UNet in parts. Of a large image shown in windows, each is an image of the batch,
    but for :meth:`Extension.predicted` and :meth:`Extension.after_step`.
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

    def clean(self) -> torch.Tensor:
        """The image as the model sees it at this step, B x C x h x w latents: noise-free, soft at first."""
        assert self.prediction is not None, "there is no prediction before the UNet ran"
        noisy = self.model_input[-self.prediction.shape[0] :, : self.prediction.shape[1]].float()
        noise = (1.0 - self.signal**2) ** 0.5
        if self.prediction_type == "v_prediction":
            return self.signal * noisy - noise * self.prediction
        return (noisy - noise * self.prediction) / self.signal.clamp_min(1e-4)

    def moved(self, change: torch.Tensor) -> torch.Tensor:
        """The prediction for which :meth:`clean` would be what it is plus ``change``, B x C x h x w."""
        assert self.prediction is not None, "there is no prediction before the UNet ran"
        noise = (1.0 - self.signal**2).clamp_min(1e-8) ** 0.5
        slope = 1.0 if self.prediction_type == "v_prediction" else self.signal
        return self.prediction - change * (slope / noise)


@dataclass(frozen=True, slots=True)
class Residuals:
    """What ControlNets add to the UNet: one tensor per skip connection, and one for the middle."""

    down: Sequence[torch.Tensor]
    mid: torch.Tensor


class Extension:
    """Something that takes part in the loop; each method's default is to do nothing."""

    def before_unet(self, step: Step) -> None:
        """The UNet is about to run on this step, or this part of it."""

    def residuals(self, step: Step) -> Residuals | None:
        """What to add within the UNet."""
        return None

    def unet_input(self, step: Step) -> torch.Tensor | None:
        """Channels to append to the UNet's input, shaped like ``step.model_input`` but for their number."""
        return None

    def predicted(self, step: Step) -> torch.Tensor | None:
        """The prediction to go on with, shaped like ``step.prediction``; None leaves it."""
        return None

    def after_step(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """The latents to go on with. ``step.latents`` are those from before."""
        return latents


@torch.inference_mode()
def denoise(
    unet: Any,
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

    unet: diffusers UNet2DConditionModel. scheduler: with its timesteps set, of which ``timesteps`` are the last.
    generators: one per image, for samplers that add noise. at_once: None shows the UNet the whole batch.
    windows: show the UNet these parts of a single image, whose predictions are blended in each step, as in
    MultiDiffusion (ICML 2023); so parts that overlap can't drift apart.
    Raises JobCancelled between steps.
    """
    batch, guided = latents.shape[0], text.negative is not None
    halves = [text.positive] if text.negative is None else [text.negative, text.positive]
    extra = _step_arguments(scheduler, generators)
    shown = batch if windows is None else len(windows)
    timestep_condition = _guidance_embedding(unet, text.guidance_scale, shown)
    embeddings = torch.cat([half.expand(shown, -1, -1) for half in halves])
    for index, timestep in enumerate(timesteps):
        hooks.check_cancelled()
        scaled = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, timestep)
        step = Step(
            index=index,
            count=len(timesteps),
            timestep=timestep,
            signal=_signal(scheduler, timestep),
            latents=latents,
            model_input=scaled.to(unet.dtype),
            text=embeddings,
            prediction_type=scheduler.config.prediction_type,
        )
        if windows is not None:
            parts = AtOnce(1) if at_once is None else at_once
            found = _in_parts(unet, _cut(step, windows), extensions, timestep_condition, text, parts, hooks)
            step.prediction = windows.merge(found)
        elif at_once is None:
            step.prediction = _guided(unet, step, extensions, timestep_condition, text)
        else:
            step.prediction = _in_parts(unet, step, extensions, timestep_condition, text, at_once, hooks)
        for extension in extensions:
            changed = extension.predicted(step)
            step.prediction = step.prediction if changed is None else changed
        latents = scheduler.step(step.prediction, timestep, latents, **extra, return_dict=False)[0]
        for extension in extensions:
            latents = extension.after_step(step, latents)
    return latents


def _cut(step: Step, windows: Windows) -> Step:
    """The windows of a single image as a batch; negative halves of all windows first."""
    halves = [windows.split(half) for half in step.model_input.chunk(len(step.model_input))]
    return replace(step, latents=windows.split(step.latents), model_input=torch.cat(halves))


def _in_parts(
    unet: Any,
    step: Step,
    extensions: Sequence[Extension],
    timestep_condition: torch.Tensor | None,
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
        condition = None if timestep_condition is None else timestep_condition[part]
        try:
            found.append(_guided(unet, _part(step, part), extensions, condition, text))
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
        step, images=images, latents=step.latents[images], model_input=of(step.model_input), text=of(step.text)
    )


def _guided(
    unet: Any,
    step: Step,
    extensions: Sequence[Extension],
    timestep_condition: torch.Tensor | None,
    text: Text,
) -> torch.Tensor:
    prediction = _predict(unet, step, extensions, timestep_condition).float()
    if text.negative is None:
        return prediction
    negative, positive = prediction.chunk(2)
    return negative + text.guidance_scale * (positive - negative)


def _predict(
    unet: Any, step: Step, extensions: Sequence[Extension], timestep_condition: torch.Tensor | None
) -> torch.Tensor:
    for extension in extensions:
        extension.before_unet(step)
    residuals = [item for item in (extension.residuals(step) for extension in extensions) if item is not None]
    appended = [item for item in (extension.unet_input(step) for extension in extensions) if item is not None]
    down = [sum_tensors(parts) for parts in zip(*(item.down for item in residuals), strict=True)] or None
    return unet(  # type: ignore[no-any-return]
        torch.cat([step.model_input, *appended], dim=1) if appended else step.model_input,
        step.timestep,
        encoder_hidden_states=step.text,
        timestep_cond=timestep_condition,
        down_block_additional_residuals=down,
        mid_block_additional_residual=sum_tensors([item.mid for item in residuals]) if residuals else None,
        return_dict=False,
    )[0]


def sum_tensors(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """In order, as diffusers' MultiControlNetModel adds."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _step_arguments(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, object]:
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if takes_generator else {}


def _signal(scheduler: Any, timestep: torch.Tensor) -> torch.Tensor:
    """From the scheduler's own list of sigmas where it has one: Karras spacing leaves the training schedule."""
    if hasattr(scheduler, "sigmas") and len(scheduler.sigmas) == len(scheduler.timesteps) + 1:
        position = scheduler.step_index if scheduler.step_index is not None else scheduler.begin_index or 0
        return torch.as_tensor((1.0 + scheduler.sigmas[position] ** 2) ** -0.5)
    return torch.as_tensor(scheduler.alphas_cumprod[timestep.long().cpu()] ** 0.5)


def _guidance_embedding(unet: Any, guidance_scale: float, batch: int) -> torch.Tensor | None:
    """For UNets distilled with the guidance scale as an input (LCM): its sinusoidal embedding, as in diffusers."""
    width = unet.config.time_cond_proj_dim
    if width is None:
        return None
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = torch.tensor([(guidance_scale - 1.0) * 1000.0]).repeat(batch)[:, None] * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    if width % 2:
        embedding = torch.nn.functional.pad(embedding, (0, 1))
    return embedding.to(unet.device, unet.dtype)
