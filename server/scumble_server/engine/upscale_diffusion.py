"""Detail painted anew in a picture that was enlarged: image-to-image in windows that are blended in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scumble_shared.job import UpscaleJob
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..service import JobHooks
from ..upscaling.layers import planes
from ..upscaling.resample import resample
from ..upscaling.windows import Blend, Windows, cover
from .denoise import AtOnce, Extension, denoise
from .extensions.controls import ActiveControl, Controls
from .extensions.inpaint import ShowMasked
from .extensions.preview import Preview
from .family import LoadedControlNet, LoadedModel
from .fast.engage import engage
from .generate import Timings, schedule, text_of
from .latents import colours, draw, encode, generators_for, moments
from .pixels import rounded_up

__all__ = ["ENLARGED", "Detail", "add_detail"]

ENLARGED, ENCODED, DENOISED = 0.1, 0.2, 0.85
"""Fractions of the whole job after which the picture is large, it is in latents, and the loop is done."""

GPU_WINDOWS = 8
"""Shown to the UNet at a time; halved when memory runs out."""

CPU_LATENTS = 4 * 64 * 64

TONE = 32
"""Pixels; coarser than this, colours are those of the picture that was enlarged."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What painting needs. controls: the job's, with their pictures, uint8 and as large as the result."""

    job: UpscaleJob
    model: LoadedModel
    controls: Sequence[tuple[LoadedControlNet, AnyArray]]
    hooks: JobHooks
    timings: Timings


def add_detail(detail: Detail, enlarged: Tensor) -> Tensor:
    """1 x 3 x H x W -> the same size, 0 to 1. Raises ScumbleError INVALID_RESULT and as :func:`.generate.schedule`
    does, and JobCancelled."""
    job, model, hooks = detail.job, detail.model, detail.hooks
    canvas = _filled(enlarged, model.multiple, job.tiling)
    cut = _windows(job, model, canvas)
    with detail.timings.stage("encoding"):
        text = text_of(job, model)
        scheduler, timesteps = schedule(job, model, job.denoising_strength, (cut.rows, cut.columns))
        generators = generators_for(job.seed, 1)
        known = _encoded(detail, canvas, cut)
        noise = draw(known.shape[1:], generators, known.device)
        latents = scheduler.add_noise(known, noise, timesteps[:1])
        preview = Preview(model, hooks, ENCODED, DENOISED)
        way = engage(model, Controls(_active(detail, cut)), timesteps)
        extensions = [*_told_to_paint_all(model, cut), *way.extensions, preview]
    with detail.timings.stage("denoising"):
        parts = AtOnce(_at_once(model, cut))
        latents = denoise(way.network, scheduler, timesteps, latents, text, generators, extensions, hooks, parts, cut)
    with detail.timings.stage("decoding"):
        painted = _decoded(detail, latents, cut)
    return _in_tone(_emptied(painted, enlarged, job.tiling), enlarged, job.tiling)


def _windows(job: UpscaleJob, model: LoadedModel, canvas: Tensor) -> Windows:
    """In latent pixels."""
    rows, columns = (side // model.scale for side in canvas.shape[2:])
    side, overlap = (-(-length // model.scale) for length in (job.tile_size, job.tile_overlap))
    return cover(rows, columns, side, overlap, job.tiling, multiple=model.stride // model.scale)


def _at_once(model: LoadedModel, cut: Windows) -> int:
    most = GPU_WINDOWS if model.device.is_gpu else CPU_LATENTS // (cut.rows * cut.columns)
    return max(1, min(len(cut), most, model.room.at_once or most))


# --- between pixels and latents -----------------------------------------------------------------------


def _filled(image: Tensor, scale: int, tiling: str) -> Tensor:
    """Of whole latent pixels: stretched where the picture repeats, continued elsewhere."""
    height, width = image.shape[2:]
    rows, columns = rounded_up(height, scale), rounded_up(width, scale)
    image = resample(image, rows if "y" in tiling else height, columns if "x" in tiling else width, tiling)
    return F.pad(image, (0, columns - image.shape[3], 0, rows - image.shape[2]), mode="replicate")


def _emptied(image: Tensor, wanted: Tensor, tiling: str) -> Tensor:
    """Undoes :func:`_filled`."""
    height, width = wanted.shape[2:]
    image = image[:, :, : image.shape[2] if "y" in tiling else height, : image.shape[3] if "x" in tiling else width]
    return resample(image, height, width, tiling)


def _encoded(detail: Detail, canvas: Tensor, cut: Windows) -> Tensor:
    """1 x C x h x w, what the autoencoder makes of the picture, a window at a time."""
    model, hooks = detail.model, detail.hooks
    pixels, blend = cut.scaled(model.scale), Blend(cut, model.latent_channels, canvas.device)
    for index in range(len(cut)):
        hooks.check_cancelled()
        hooks.progress("encoding", index, len(cut), ENLARGED + (ENCODED - ENLARGED) * index / len(cut))
        blend.add(index, moments(model, pixels.window(canvas, index) * 2.0 - 1.0)[0])
    return blend.result()


def _decoded(detail: Detail, latents: Tensor, cut: Windows) -> Tensor:
    """1 x 3 x H x W, a window at a time."""
    model, hooks = detail.model, detail.hooks
    blend = Blend(cut.scaled(model.scale), 3, latents.device)
    for index in range(len(cut)):
        hooks.check_cancelled()
        hooks.progress("decoding", index, len(cut), DENOISED + (1.0 - DENOISED) * index / len(cut))
        blend.add(index, colours(model, cut.window(latents, index)))
    return blend.result()


def _in_tone(painted: Tensor, enlarged: Tensor, tiling: str) -> Tensor:
    """The detail of one, the coarse colours of the other: autoencoders and models shift them a little, and textures
    that are enlarged one by one must still go together."""
    height, width = enlarged.shape[2:]
    coarse = max(1, height // TONE), max(1, width // TONE)
    shift = F.adaptive_avg_pool2d(enlarged - painted, coarse)
    return (painted + resample(shift, height, width, tiling)).clamp(0.0, 1.0)


# --- what takes part in the loop ----------------------------------------------------------------------


def _active(detail: Detail, cut: Windows) -> list[ActiveControl]:
    """With a picture for each window."""
    scale, tiling = detail.model.scale, detail.job.tiling
    active = []
    for control, (net, image) in zip(detail.job.controls, detail.controls, strict=True):
        filled = _filled(planes(image), detail.model.multiple, tiling).clamp(0.0, 1.0)
        parts = (cut.scaled(scale).split(filled) * 255.0).round().to(torch.uint8)
        pictures = np.ascontiguousarray(parts.permute(0, 2, 3, 1).numpy())
        active.append(ActiveControl(net, pictures, control.strength, control.start, control.end, control.kind))
    return active


def _told_to_paint_all(model: LoadedModel, cut: Windows) -> list[Extension]:
    """UNets made for inpainting see that nothing is to be kept."""
    if not model.is_for_inpainting:
        return []
    nothing = torch.zeros(1, 3, cut.rows * model.scale, cut.columns * model.scale)
    latents = encode(moments(model, nothing), generators_for(0, 1)).expand(len(cut), -1, -1, -1)
    return [ShowMasked(torch.ones(1, 1, cut.rows, cut.columns, device=latents.device), latents)]
