"""The autoencoder's weights that are set and not trained.

A random encoder takes hours to learn what is simple: an 8 x 8 block's mean colour, and how its brightness leans. So the
encoder is *set* to give exactly that (:func:`pixels_to_latents` says it in one line of algebra), through the layers of
``AutoencoderKL`` as they are. Nothing has to be encoded ahead, mirrored pictures have mirrored latents, and diffusion
sees numbers that mean something. The decoder starts as a pixelation and learns to sharpen it.

Group norms would hide a picture's colour. So each signal travels as (+c, -c), since silu(c) - silu(-c) = c, beside
constants (+k, -k) so large that they alone decide the norm's scale. Residual branches are zero.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

__all__ = ["LATENT_CHANNELS", "pixels_to_latents", "set_encoder", "start_decoder"]

LATENT_CHANNELS = 6
"""Stable Diffusion 1.5 has four, which a small decoder can't make sharp pictures of."""

CARRIED = 4
"""Channels a signal takes: (+c, -c, +k, -k)."""

THIRD = 1.0 / 3.0
MIX = (
    (2 * THIRD, 2 * THIRD, 2 * THIRD, 0.0, 0.0, 0.0),
    (2.0, 0.0, -2.0, 0.0, 0.0, 0.0),
    (-2.0, 4.0, -2.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 8.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 8.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 12.0),
)
"""From mean red, green, blue and the three leanings to latents: brightness, red against blue, green against both, and
the leanings. The gains bring each to about the same variance."""

OFFSET = (0.2, -0.3, 0.0, 0.0, 0.0, 0.0)
"""Added to the latents: pictures are darker than middle grey, and rather warm."""

KEEP = ((1.0,),)
AVERAGE = ((0.25, 0.25, 0.0), (0.25, 0.25, 0.0), (0.0, 0.0, 0.0))
LEANINGS = (
    ((0.25, -0.25, 0.0), (0.25, -0.25, 0.0), (0.0, 0.0, 0.0)),
    ((0.25, 0.25, 0.0), (-0.25, -0.25, 0.0), (0.0, 0.0, 0.0)),
    ((0.25, -0.25, 0.0), (-0.25, 0.25, 0.0), (0.0, 0.0, 0.0)),
)
"""Left against right, top against bottom, and one diagonal against the other: Haar's wavelets of 2 x 2."""

SOFTEN = ((0.0625, 0.125, 0.0625), (0.125, 0.25, 0.125), (0.0625, 0.125, 0.0625))
SILENT = -20.0
"""Log-variance of the posterior: there is none."""


def pixels_to_latents(image: Tensor) -> Tensor:
    """Pictures B x 3 x H x W in [-1, 1] -> latents B x 6 x H/8 x W/8, as the encoder gives them."""
    quarters = F.avg_pool2d(image, 4)
    mean = F.avg_pool2d(quarters, 2)
    kernels = image.new_tensor(LEANINGS)[:, None, :2, :2]
    leaning = F.conv2d(quarters.mean(1, keepdim=True), kernels, stride=2)
    mixed = torch.einsum("lc,bchw->blhw", image.new_tensor(MIX), torch.cat([mean, leaning], dim=1))
    return mixed + image.new_tensor(OFFSET)[:, None, None]


@torch.no_grad()
def set_encoder(vae: AutoencoderKL) -> None:
    """Set the encoder and both 1 x 1 convolutions round the latents."""
    constant = 32.0
    encoder = vae.encoder
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    _spread_colours(encoder.conv_in, constant)
    for module in encoder.modules():
        if isinstance(module, ResnetBlock2D) and module.conv_shortcut is not None:
            _pass_on(module.conv_shortcut, KEEP, LATENT_CHANNELS)
        elif isinstance(module, Downsample2D):
            _pass_on(module.conv, AVERAGE, 3)
    _lean(encoder.down_blocks[2].downsamplers[0].conv, constant)
    _gather(encoder.conv_out, encoder.conv_norm_out, LATENT_CHANNELS, constant)
    mix = torch.tensor(MIX)
    into, out = vae.quant_conv, vae.post_quant_conv
    for conv in (into, out):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    into.weight[:LATENT_CHANNELS, :LATENT_CHANNELS, 0, 0] = mix
    into.bias[:LATENT_CHANNELS] = torch.tensor(OFFSET)
    into.bias[LATENT_CHANNELS:] = SILENT
    out.weight[:, :, 0, 0] = mix.inverse()
    out.bias[:] = -mix.inverse() @ torch.tensor(OFFSET)


@torch.no_grad()
def start_decoder(vae: AutoencoderKL) -> None:
    """Start the decoder as a soft enlargement of the mean colours; what else it can do is random, and learnt."""
    constant = 3.0
    for module in vae.decoder.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _pass_on(module.conv_shortcut, KEEP, 3)
        elif isinstance(module, Upsample2D):
            _pass_on(module.conv, SOFTEN, 3)
    _spread_colours(vae.decoder.conv_in, constant)
    _gather(vae.decoder.conv_out, vae.decoder.conv_norm_out, 3, constant)


def _pass_on(conv: nn.Conv2d, kernel: tuple[tuple[float, ...], ...], signals: int) -> None:
    """Carried signals go through that kernel, each by itself."""
    width = min(CARRIED * signals, *conv.weight.shape[:2])
    conv.weight[:width], conv.bias[:width] = 0.0, 0.0
    for channel in range(width):
        conv.weight[channel, channel] = torch.tensor(kernel)


def _spread_colours(conv: nn.Conv2d, constant: float) -> None:
    signs, middle = (1.0, -1.0, 0.0, 0.0), conv.kernel_size[0] // 2
    for channel in range(CARRIED * 3):
        colour, part = divmod(channel, CARRIED)
        conv.weight[channel] = 0.0
        conv.weight[channel, colour, middle, middle] = signs[part]
        conv.bias[channel] = (0.0, 0.0, constant, -constant)[part]


def _lean(conv: nn.Conv2d, constant: float) -> None:
    """Three more signals: the leanings of the mean of the three colours."""
    for number, kernel in enumerate(LEANINGS):
        first = CARRIED * (3 + number)
        for part, sign in ((0, 1.0), (1, -1.0)):
            for colour in range(3):
                conv.weight[first + part, CARRIED * colour] = sign * THIRD * torch.tensor(kernel)
        conv.bias[first + 2], conv.bias[first + 3] = constant, -constant


def _gather(conv: nn.Conv2d, norm: nn.GroupNorm, signals: int, constant: float) -> None:
    """Undo the norm, which divides by the spread of its group: the constants' share of that is known."""
    per_group, middle = norm.num_channels // norm.num_groups, conv.kernel_size[0] // 2
    conv.weight[:signals], conv.bias[:signals] = 0.0, 0.0
    for signal in range(signals):
        group = CARRIED * signal // per_group
        inside = min(CARRIED * signals, (group + 1) * per_group) - group * per_group
        unit = math.sqrt(inside / 2 / per_group) * constant
        for part, sign in ((0, 1.0), (1, -1.0)):
            conv.weight[signal, CARRIED * signal + part, middle, middle] = sign * unit
