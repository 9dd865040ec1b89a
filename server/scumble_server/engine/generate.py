"""A GenerateJob from its values to its images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, TextureJob, UpscaleJob
from scumble_shared.tensor import AnyArray, Digest

from ..service import JobHooks
from .beginning import Anchor, Beginning
from .canvas import Canvas, canvas
from .denoise import FLOW, AtOnce, Text, denoise
from .extensions.controls import ActiveControl, Controls
from .extensions.preview import Preview
from .family import LoadedModel
from .fast.sampler import TabledSampler
from .latents import decode, generators_for
from .pixels import image_array, mask_array, paste
from .regions import engaged, regions_of_picture, texts_for
from .samplers import make_scheduler
from .seamless import seamless
from .surface_noise import SurfaceNoise

__all__ = ["Timings", "canvas_of", "generate", "schedule", "text_of", "texts_of"]

ENCODED, DENOISED = 0.03, 0.95
"""Fractions of a whole job after which the prompt is encoded and the loop is done."""


@dataclass(slots=True)
class Timings:
    """Seconds per stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        return {name: round(seconds, 4) for name, seconds in self.seconds.items()}


def generate(
    job: GenerateJob,
    model: LoadedModel,
    controls: Sequence[ActiveControl],
    tensors: Mapping[Digest, AnyArray],
    hooks: JobHooks,
    timings: Timings,
) -> list[AnyArray]:
    """The job's images, uint8 height x width x 3. controls: in the size of the job's :func:`canvas_of`.

    Raises ScumbleError INVALID_FIELD or INVALID_RESULT, and JobCancelled.
    """
    with seamless(_modules(model, controls), job.tiling):
        return _generate(job, model, controls, tensors, hooks, timings)


def canvas_of(job: GenerateJob, model: LoadedModel) -> Canvas:
    """What is generated for a job."""
    return canvas(job.width, job.height, model.scale, model.multiple, model.stride, job.tiling)


def _modules(model: LoadedModel, controls: Sequence[ActiveControl]) -> list[torch.nn.Module]:
    """All that look at places next to each other."""
    nets = [module for control in controls for module in control.controlnet.modules]
    return [model.network.module, model.vae, *nets]


def _generate(
    job: GenerateJob,
    model: LoadedModel,
    controls: Sequence[ActiveControl],
    tensors: Mapping[Digest, AnyArray],
    hooks: JobHooks,
    timings: Timings,
) -> list[AnyArray]:
    whole = canvas_of(job, model)
    original, mask = _pictures(job, tensors)
    if original is not None and job.denoising_strength <= 0.0:
        return [original] * job.batch_size
    with timings.stage("encoding"):
        hooks.progress("encoding", fraction=0.0)
        regional = regions_of_picture(job, tensors, whole.filled)
        text = texts_for(lambda prompts: texts_of(job, model, prompts), model, [job.prompt], regional, whole.latents)
        scheduler, timesteps = schedule(job, model, 1.0 if original is None else job.denoising_strength, whole.latents)
        filled = None if original is None else whole.filled(original)
        filled_mask = None if mask is None else whole.filled(mask)
        generators = generators_for(job.seed, job.batch_size)
        beginning = Beginning(model, scheduler, timesteps, generators, _anchor(job, model, tensors))
        latents, inpainting = beginning.latents(whole.size, filled, filled_mask, job.denoising_strength)
        shown = Controls(controls)
    few = AtOnce(model.room.at_once) if model.room.at_once else None
    with engaged(model, shown, timesteps, regional, whole.latents, job.quality) as way:
        extensions = [*inpainting, *way.extensions, Preview(model, hooks, ENCODED, DENOISED)]
        with timings.stage("denoising"):
            latents = denoise(
                way.network, scheduler, timesteps, latents, text, beginning.generators, extensions, hooks, few
            )
    hooks.check_cancelled()
    with timings.stage("decoding"):
        hooks.progress("decoding", fraction=DENOISED)
        images = [whole.picture(image) for image in decode(model, latents, small=job.decoder == "small")]
    if original is not None and mask is not None:
        images = [paste(image, original, mask) for image in images]
    return images


def _pictures(job: GenerateJob, tensors: Mapping[Digest, AnyArray]) -> tuple[AnyArray | None, AnyArray | None]:
    """The image to start from and its mask, in the size of the job."""
    if job.init_image is None:
        if job.mask is not None:
            raise ScumbleError(ErrorCode.INVALID_FIELD, "a mask needs an image to repaint", field="job.init_image")
        return None, None
    original = image_array(tensors[job.init_image], job.width, job.height, "job.init_image")
    if job.mask is None:
        return original, None
    return original, mask_array(tensors[job.mask], job.width, job.height)


def _anchor(job: GenerateJob, model: LoadedModel, tensors: Mapping[Digest, AnyArray]) -> Anchor | None:
    if job.noise_anchor == "screen":
        return None
    if job.view is None or job.view.depth is None:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, "noise on the surface needs the view's depth", field="job.noise_anchor"
        )
    noise = SurfaceNoise(job.view.camera, tensors[job.view.depth], (job.width, job.height), model.scale)
    seeds = [job.seed + image for image in range(job.batch_size)]
    return lambda screen: noise.over(screen, seeds)


def text_of(job: GenerateJob | UpscaleJob, model: LoadedModel) -> Text:
    """The job's prompts as the model sees them."""
    return texts_of(job, model, [job.prompt])


def texts_of(job: GenerateJob | TextureJob | UpscaleJob, model: LoadedModel, prompts: Sequence[str]) -> Text:
    """One embedding for each of ``prompts``, guided as the job says."""
    guided = job.guidance_scale > 1.0 and not model.network.embeds_guidance
    return model.prompt_encoder.text(prompts, job.negative_prompt if guided else None, job.guidance_scale)


def skipped_steps(steps: int, strength: float, flow: bool) -> int:
    """How many of the first steps an image that is only changed goes without; one is left at least. As diffusers
    rounds it, which isn't the same for all families."""
    if flow:
        return min(steps - 1, int(max(steps - min(steps * strength, steps), 0)))
    return steps - max(1, min(int(steps * strength), steps))


def schedule(
    job: GenerateJob | TextureJob | UpscaleJob, model: LoadedModel, strength: float, size: tuple[int, int]
) -> tuple[Any, torch.Tensor]:
    """The scheduler and the timesteps to run: the last part of them where an image is only changed.

    On CUDA a table of the scheduler's steps, which the device needn't be asked for anything.
    size: rows and columns of the latents that the network sees; some models' schedules go by it.

    Raises ScumbleError UNSUPPORTED for a sampler nobody knows, INVALID_FIELD for more steps than it can do.
    """
    tokens = (size[0] // model.network.patch) * (size[1] // model.network.patch)
    scheduler = make_scheduler(job.sampler, model.scheduler_config, tokens)
    steps, is_cuda = job.num_inference_steps, model.device.torch_device.type == "cuda"
    try:
        scheduler.set_timesteps(steps, device=torch.device("cpu") if is_cuda else model.device.torch_device)
    except ValueError as error:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"the sampler {job.sampler} can't do {steps} steps; use fewer",
            field="job.num_inference_steps",
        ) from error
    skipped = skipped_steps(steps, strength, scheduler.config.prediction_type == FLOW)
    if skipped and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped * scheduler.order)
    timesteps = scheduler.timesteps[skipped * scheduler.order :]
    return TabledSampler(scheduler, timesteps) if is_cuda else scheduler, timesteps
