"""Noise, and images to latents and back. The order of random draws is that of diffusers' pipelines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.tensor import AnyArray

from .family import LoadedModel

__all__ = ["decode", "draw", "encode", "generators_for", "moments"]

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and standard deviation of a latent, 1 x C x h x w each, scaled for the UNet."""


def generators_for(seed: int, count: int) -> list[torch.Generator]:
    """One per image, so that image ``i`` is what seed ``seed + i`` gives alone; on the CPU, so that devices agree.
    Seeds beyond 63 bits wrap around."""
    return [torch.Generator("cpu").manual_seed((seed + index) % 2**63) for index in range(count)]


def draw(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> torch.Tensor:
    """Standard normal noise, B x ``shape``, float32."""
    noise = [torch.randn((1, *shape), generator=generator) for generator in generators]
    return torch.cat(noise).to(device)


@torch.inference_mode()
def moments(model: LoadedModel, image: torch.Tensor) -> Moments:
    """What the autoencoder makes of ``image``, 1 x 3 x H x W in -1 to 1."""
    posterior = model.vae.encode(image.to(model.device.torch_device, model.vae.dtype)).latent_dist
    scale = model.vae.config.scaling_factor
    return posterior.mean.float() * scale, posterior.std.float() * scale


def encode(found: Moments, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """A sample per generator, B x C x h x w."""
    mean, deviation = found
    return mean + deviation * draw(mean.shape[1:], generators, mean.device)


@torch.inference_mode()
def decode(model: LoadedModel, latents: torch.Tensor) -> list[AnyArray]:
    """uint8 H x W x 3 per image. Raises ScumbleError INVALID_RESULT instead of showing NaN."""
    return [_decode_one(model, latent[None]) for latent in latents]


def _decode_one(model: LoadedModel, latent: torch.Tensor) -> AnyArray:
    _check_finite(latent)
    vae = model.vae
    scaled = latent / vae.config.scaling_factor
    try:
        pixels = vae.decode(scaled.to(vae.dtype), return_dict=False)[0].float()
    except torch.OutOfMemoryError:
        vae.enable_tiling()
        pixels = vae.decode(scaled.to(vae.dtype), return_dict=False)[0].float()
    if not bool(torch.isfinite(pixels).all()) and vae.dtype != torch.float32:
        # Some checkpoints' decoders overflow in half precision; the cure is to decode in full.
        dtype = vae.dtype
        pixels = vae.to(torch.float32).decode(scaled.float(), return_dict=False)[0]
        vae.to(dtype)
    _check_finite(pixels)
    fractions = (pixels[0] * 0.5 + 0.5).clamp(0.0, 1.0).permute(1, 2, 0).cpu().numpy()
    image: AnyArray = (fractions * 255.0).round().astype(np.uint8)
    return image


def _check_finite(values: torch.Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ScumbleError(
            ErrorCode.INVALID_RESULT,
            "the model gave values that are no numbers; lower guidance scale or control strength, or choose another "
            "sampler or model",
            remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
        )
