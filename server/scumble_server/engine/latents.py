"""Noise, and images to latents and back. The order of random draws is that of diffusers' pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.tensor import AnyArray

from ..upscaling.windows import Blend, cover
from .family import LoadedModel
from .fast.decoding import decoded
from .seamless import tiling_now

__all__ = ["colours", "decode", "draw", "encode", "generators_for", "moments", "unscaled"]

WINDOW = 64
"""Latent pixels a side that are decoded at a time once memory ran out for the whole."""

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and standard deviation of a latent, 1 x C x h x w each, scaled for the network."""


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
    vae = model.vae
    model.room.show("autoencoder")
    with _tiled(vae, model.room.tiled):
        posterior = vae.encode(image.to(model.device.torch_device, vae.dtype)).latent_dist
    mean, deviation, scale = posterior.mean.float(), posterior.std.float(), vae.config.scaling_factor
    if vae.config.latents_mean is not None and vae.config.latents_std is not None:
        usual, spread = _statistics(vae, mean)
        return (mean - usual) * scale / spread, deviation * scale / spread
    if vae.config.shift_factor is not None:
        mean = mean - vae.config.shift_factor
    return mean * scale, deviation * scale


def unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents as the decoder wants them, of latents as the network does."""
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor
    if vae.config.latents_mean is not None and vae.config.latents_std is not None:
        usual, spread = _statistics(vae, latents)
        return (latents * spread).div(scale) + usual
    plain = latents.div(scale)
    return plain if shift is None else plain + shift


def _statistics(vae: Any, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Usual mean and deviation per channel, 1 x C x 1 x 1."""
    mean, deviation = (torch.tensor(vae.config[key]).view(1, -1, 1, 1) for key in ("latents_mean", "latents_std"))
    return mean.to(like), deviation.to(like)


def encode(found: Moments, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """A sample per generator, B x C x h x w."""
    mean, deviation = found
    return mean + deviation * draw(mean.shape[1:], generators, mean.device)


@torch.inference_mode()
def decode(model: LoadedModel, latents: torch.Tensor, bits: int = 8, small: bool = False) -> list[AnyArray]:
    """uint8 or uint16 H x W x 3 per image. small: by the small autoencoder, if there is one.
    Raises ScumbleError INVALID_RESULT instead of showing NaN."""
    return [_decode_one(model, latent[None], bits, small) for latent in latents]


def _decode_one(model: LoadedModel, latent: torch.Tensor, bits: int, small: bool) -> AnyArray:
    by_small = small and model.preview_vae is not None
    fractions = (_sketched(model, latent) if by_small else colours(model, latent))[0].permute(1, 2, 0)
    if bits == 8:  # made on the device, since less is to be sent then
        levels: AnyArray = (fractions * 255.0).round().to(torch.uint8).contiguous().cpu().numpy()
        return levels
    image: AnyArray = (fractions.cpu().numpy() * (2**bits - 1)).round().astype(f"uint{bits}")
    return image


@torch.inference_mode()
def colours(model: LoadedModel, latent: torch.Tensor) -> torch.Tensor:
    """A single latent, 1 x C x h x w, as float32 1 x 3 x H x W in 0 to 1. Raises as :func:`decode` does."""
    vae = model.vae
    scaled = unscaled(vae, latent)
    model.room.show("autoencoder")
    pixels = _decoded(model, scaled)
    _check_finite(latent)  # not before, since on a GPU it waits for all that was asked for until then
    if not bool(torch.isfinite(pixels).all()) and vae.dtype != torch.float32:
        # Some checkpoints' decoders overflow in half precision; the cure is to decode in full.
        dtype = vae.dtype
        try:
            vae.to(torch.float32)
            pixels = _decoded(model, scaled)
        finally:
            vae.to(dtype)
        model.room.tell("decoded in full precision, since half of it overflowed")
    return _fractions(pixels)


def _decoded(model: LoadedModel, scaled: torch.Tensor) -> torch.Tensor:
    """float32 1 x 3 x H x W, about -1 to 1; in parts where memory is short, or turns out to be."""
    vae = model.vae
    if not model.room.tiled:
        try:
            return decoded(model, vae, scaled.to(vae.dtype)).float()
        except torch.OutOfMemoryError:
            model.room.tell("decoded in tiles, since memory ran out")
    return _decoded_in_windows(vae, scaled).float()


@contextmanager
def _tiled(vae: Any, wanted: bool) -> Iterator[None]:
    """Within it, diffusers' autoencoder encodes in tiles; not what repeats, since tiles have edges."""
    if not wanted or tiling_now():
        yield
        return
    before = vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = True, WINDOW * scale, WINDOW
    try:
        yield
    finally:
        vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = before


def _sketched(model: LoadedModel, latent: torch.Tensor) -> torch.Tensor:
    """As :func:`colours`, by the small autoencoder, which takes latents as the network does."""
    vae = model.preview_vae
    pixels = decoded(model, vae, latent.to(vae.dtype)).float()
    return _fractions(pixels)


def _decoded_in_windows(vae: Any, scaled: torch.Tensor) -> torch.Tensor:
    """A part at a time, each fading into the next; round the edge where the picture repeats."""
    cut = cover(scaled.shape[2], scaled.shape[3], WINDOW, WINDOW // 4, tiling_now())
    blend = Blend(cut.scaled(2 ** (len(vae.config.block_out_channels) - 1)), 3, scaled.device)
    for index in range(len(cut)):
        blend.add(index, vae.decode(cut.window(scaled, index).to(vae.dtype), return_dict=False)[0])
    return blend.result()


def _fractions(pixels: torch.Tensor) -> torch.Tensor:
    """0 to 1, of about -1 to 1. Raises ScumbleError INVALID_RESULT for what is no numbers."""
    _check_finite(pixels)
    fractions: torch.Tensor = (pixels * 0.5 + 0.5).clamp(0.0, 1.0)
    return fractions


def _check_finite(values: torch.Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ScumbleError(
            ErrorCode.INVALID_RESULT,
            "the model gave values that are no numbers; lower guidance scale or control strength, or choose another "
            "sampler or model",
            remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
        )
