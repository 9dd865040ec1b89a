"""The networks: the classes of Stable Diffusion 1.5 with its ControlNets, at sizes that train in minutes.

What is saved is what a full checkpoint has: tokenizer/, text_encoder/, vae/, unet/, scheduler/, and the ControlNets
beside them, so everything that loads a checkpoint loads this.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from captions import vocabulary_lines
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from scumble_server.models.tokenizer import learn_merges, vocabulary
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

__all__ = ["CONTROLS", "SIZES", "Size", "build_controlnet", "build_text_encoder", "build_tokenizer", "build_unet",
           "build_vae", "caption_merges", "scheduler"]  # fmt: skip

CONTROLS = ("depth", "normal")
CONTEXT = 77
MERGES = 1000


@dataclass(frozen=True, slots=True)
class Size:
    """vae, unet: channels per level. hint: channels of the control image's encoder. text: width, layers, heads.
    layers: residual blocks per level. heads: attention heads per level. groups: of the group norms."""

    vae: tuple[int, int, int, int]
    unet: tuple[int, ...]
    hint: tuple[int, int, int, int]
    text: tuple[int, int, int]
    layers: int
    heads: int
    groups: int


SIZES = {
    "tiny": Size((16, 16, 16, 16), (16, 32, 32), (8, 8, 8, 16), (32, 1, 2), 1, 2, 4),
    "cpu": Size((32, 64, 96, 128), (64, 96, 160), (8, 16, 32, 64), (160, 2, 4), 1, 4, 16),
    "gpu": Size((64, 96, 160, 192), (96, 192, 256), (16, 32, 64, 96), (256, 4, 4), 1, 4, 32),
}


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer with merges learnt from the captions' vocabulary. Any text can be encoded."""
    merges = caption_merges()
    return CLIPTokenizer(vocabulary(merges), merges, model_max_length=CONTEXT)


def caption_merges() -> list[tuple[str, str]]:
    """The byte pairs to join, most useful first."""
    words = re.findall(r"[a-z]+", " ".join(vocabulary_lines()).lower())
    return learn_merges(words, MERGES)


def build_text_encoder(size: Size, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    width, layers, heads = size.text
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width * 4, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=CONTEXT, projection_dim=width, hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def build_vae(size: Size) -> AutoencoderKL:
    """The autoencoder, starting as a pixelation: see :func:`start_as_pixels`."""
    vae = AutoencoderKL(
        block_out_channels=size.vae, layers_per_block=1, latent_channels=4, norm_num_groups=min(8, size.groups),
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        # Without attention in the middle the picture's size doesn't matter to the autoencoder, nor its memory.
        mid_block_add_attention=False, sample_size=256,
    )  # fmt: skip
    start_as_pixels(vae)
    return vae


LEVEL = 3.0
"""Of the constant channels that keep group norms from hiding how bright a picture is."""


@torch.no_grad()
def start_as_pixels(vae: AutoencoderKL) -> None:
    """Set weights so that the fresh encoder averages 8 x 8 pixels (times two) and the decoder spreads them again.

    Group norms hide a picture's colour from a random network, which then takes hours to find it again. So each colour
    travels as a pair (+c, -c), since silu(c) - silu(-c) = c, beside constants large enough to fix the norm's scale.
    Residual branches start at zero. Training begins at the pixelation and only has to sharpen it.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _pass_on(module.conv_shortcut, KEEP)
        elif isinstance(module, Downsample2D):
            _pass_on(module.conv, AVERAGE)
        elif isinstance(module, Upsample2D):
            _pass_on(module.conv, SOFTEN)
    for coder, gain in ((vae.encoder, 2.0), (vae.decoder, 0.5)):
        _spread_colours(coder.conv_in)
        _gather_colours(coder.conv_out, coder.conv_norm_out, gain)
    for conv in (vae.quant_conv, vae.post_quant_conv):
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    # The fourth channel starts silent, and all are nearly free of noise.
    nn.init.zeros_(vae.encoder.conv_out.weight[3])
    nn.init.zeros_(vae.encoder.conv_out.bias[3:4])
    nn.init.constant_(vae.encoder.conv_out.bias[4:], -5.0)


CARRIERS = 12
"""Channels 4 j to 4 j + 3 carry (+c, -c, constant, -constant) of colour j; the rest start at random."""


KEEP, AVERAGE = ((1.0,),), ((0.25, 0.25, 0.0), (0.25, 0.25, 0.0), (0.0, 0.0, 0.0))
SOFTEN = ((0.0625, 0.125, 0.0625), (0.125, 0.25, 0.125), (0.0625, 0.125, 0.0625))


def _pass_on(conv: nn.Conv2d, kernel: tuple[tuple[float, ...], ...]) -> None:
    """Carriers go through that kernel, each by itself."""
    width = min(CARRIERS, *conv.weight.shape[:2])
    conv.weight[:width], conv.bias[:width] = 0.0, 0.0
    for channel in range(width):
        conv.weight[channel, channel] = torch.tensor(kernel)


def _spread_colours(conv: nn.Conv2d) -> None:
    signs, middle = (1.0, -1.0, 0.0, 0.0), conv.kernel_size[0] // 2
    for channel in range(min(CARRIERS, conv.out_channels)):
        colour, part = divmod(channel, 4)
        conv.weight[channel] = 0.0
        conv.weight[channel, colour, middle, middle] = signs[part]
        conv.bias[channel] = (0.0, 0.0, LEVEL, -LEVEL)[part]


def _gather_colours(conv: nn.Conv2d, norm: nn.GroupNorm, gain: float) -> None:
    """Undo the norm, which divides by the spread of its group: the constants' share of that is known."""
    per_group = norm.num_channels // norm.num_groups
    constants = min(CARRIERS, per_group) / 2
    unit = math.sqrt(constants / per_group) * LEVEL
    middle = conv.kernel_size[0] // 2
    conv.weight[:3], conv.bias[:3] = 0.0, 0.0
    conv.weight[4:] *= 0.01
    for colour in range(3):
        for part, sign in ((0, 1.0), (1, -1.0)):
            if 4 * colour + part < conv.in_channels:
                conv.weight[colour, 4 * colour + part, middle, middle] = sign * gain * unit


def _shared(size: Size) -> dict[str, object]:
    levels = len(size.unet)
    return {
        "block_out_channels": size.unet,
        "layers_per_block": size.layers,
        # Attention is left out where the picture is largest: there it would cost most and tell least.
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        "cross_attention_dim": size.text[0],
        "attention_head_dim": size.heads,
        "norm_num_groups": size.groups,
    }


def build_unet(size: Size) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32, in_channels=4, out_channels=4,
        up_block_types=("CrossAttnUpBlock2D",) * (len(size.unet) - 1) + ("UpBlock2D",), **_shared(size),
    )  # fmt: skip


HINT_GAIN = 1.9
"""Of each layer that reads a control image: what a SiLU takes away."""


def build_controlnet(size: Size) -> ControlNetModel:
    net = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=size.hint, **_shared(size))
    # Zero convolutions protect a trained UNet. Here both learn together, and control is there from the first step.
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
        layer.reset_parameters()
    # Eight layers of usual weights would fade the picture to a ten-thousandth; these keep its contrast.
    for layer in net.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=HINT_GAIN / math.sqrt(layer.in_channels * 9))
            nn.init.zeros_(layer.bias)
    return net


def scheduler() -> DDIMScheduler:
    """The noise schedule of Stable Diffusion 1.5, predicting velocity, which stays sharp at few steps."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        timestep_spacing="trailing",
    )  # fmt: skip
