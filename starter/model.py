"""The networks: the classes of Stable Diffusion 1.5 with its ControlNets, at sizes that train in minutes.

What is saved is what a full checkpoint has: tokenizer/, text_encoder/, vae/, unet/, scheduler/, and the ControlNets
beside them, so everything that loads a checkpoint loads this.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from autoencoder import LATENT_CHANNELS, set_encoder, start_decoder
from captions import vocabulary_lines
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from scumble_server.models.tokenizer import learn_merges, vocabulary
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

__all__ = [
    "CONTROLS",
    "MAX_SHIPPED_BYTES",
    "SIZES",
    "Size",
    "build_controlnet",
    "build_text_encoder",
    "build_tokenizer",
    "build_unet",
    "build_vae",
    "caption_merges",
    "scheduler",
]

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
    "tiny": Size((16, 16, 32, 32), (16, 32, 32), (8, 8, 8, 16), (32, 1, 2), 1, 2, 4),
    "cpu": Size((32, 48, 96, 192), (64, 96, 160), (8, 16, 32, 64), (160, 2, 4), 1, 4, 16),
    "gpu": Size((64, 64, 96, 160), (96, 128, 160), (16, 32, 64, 96), (192, 2, 4), 1, 4, 16),
}
MAX_SHIPPED_BYTES = 60_000_000
"""Of all networks together in half precision: what a package can carry."""


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
    """The autoencoder: its encoder is :func:`pixels_to_latents`, its decoder starts as a pixelation."""
    vae = AutoencoderKL(
        block_out_channels=size.vae, layers_per_block=1, latent_channels=LATENT_CHANNELS, scaling_factor=1.0,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        # Without attention in the middle the picture's size doesn't matter to the autoencoder, nor its memory.
        mid_block_add_attention=False, sample_size=256, norm_num_groups=min(8, size.groups),
    )  # fmt: skip
    set_encoder(vae)
    start_decoder(vae)
    return vae


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
        # The caption's gist also comes with the time: attention alone learns late what colour a word is.
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": size.heads,
        "resnet_time_scale_shift": "scale_shift",
    }


def build_unet(size: Size) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        up_block_types=("CrossAttnUpBlock2D",) * (len(size.unet) - 1) + ("UpBlock2D",), **_shared(size),
    )  # fmt: skip


def build_controlnet(size: Size) -> ControlNetModel:
    net = ControlNetModel(
        in_channels=LATENT_CHANNELS, conditioning_embedding_out_channels=size.hint, **_shared(size)
    )  # fmt: skip
    # Zero convolutions protect a trained UNet. Here both learn together, and control is there from the first step.
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
        layer.reset_parameters()
    start_hint(net.controlnet_cond_embedding)
    return net


HINT_GAIN = 1.9
"""Of each layer that reads a control image: what a SiLU takes away."""


@torch.no_grad()
def start_hint(embedding: nn.Module) -> None:
    """Start the reader of control images with a plain view of the small picture among its random ones.

    Eight layers of usual weights would fade the picture to a ten-thousandth; these keep its contrast, and three
    pairs (+c, -c) carry red, green and blue through, each shrunk by averaging, since silu(c) - silu(-c) = c.
    """
    first, last = embedding.conv_in, embedding.conv_out
    for layer in (first, *embedding.blocks, last):
        nn.init.normal_(layer.weight, std=HINT_GAIN / math.sqrt(layer.in_channels * 9))
        nn.init.zeros_(layer.bias)
    for channel in range(6):
        colour, sign = channel // 2, 1.0 - 2.0 * (channel % 2)
        first.weight[channel] = 0.0
        first.weight[channel, colour, 1, 1] = 4.0 * sign
        first.bias[channel] = -2.0 * sign
        for layer in embedding.blocks:
            layer.weight[channel] = 0.0
            for pair, part in ((0, 1.0), (1, -1.0)):
                kernel = torch.zeros(3, 3)
                kernel[1:, 1:] = 0.25
                if layer.stride == (1, 1):
                    kernel = torch.zeros(3, 3)
                    kernel[1, 1] = 1.0
                layer.weight[channel, 2 * colour + pair] = sign * part * kernel
    for colour in range(3):
        mixture = torch.randn(last.out_channels)
        last.weight[:, 2 * colour : 2 * colour + 2] = 0.0
        last.weight[:, 2 * colour, 1, 1] = mixture
        last.weight[:, 2 * colour + 1, 1, 1] = -mixture


def scheduler() -> DDIMScheduler:
    """The noise schedule of Stable Diffusion 1.5, predicting velocity, which stays sharp at few steps.

    It ends in pure noise (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed"): otherwise
    the last step of training shows the picture's brightness, and the first of use has none to show.
    """
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        timestep_spacing="trailing", rescale_betas_zero_snr=True,
    )  # fmt: skip
