"""A small model with random weights, of the very classes and folder layout of a real one.

It makes coloured noise, not pictures; but it loads, conditions, cancels and previews like any other, so everything
around it can be run where the trained starter model isn't installed. Made once and kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

from .builtin import SEEDED_MANIFEST
from .tokenizer import learn_merges, write_tokenizer

__all__ = ["install_seeded_model", "write_seeded_model"]

WORDS = """
a an and the of in on at with under over red green blue yellow brown white black grey gold silver copper bronze
brick wood oak walnut stone marble granite sand snow ice water lava moss grass leaf bark rust steel iron metal
concrete plaster ceramic terracotta leather denim wool knit glass plastic paper rock cliff house castle tower robot
car ship tree flower mountain forest desert city street room table chair sofa lamp sphere cube cat dog dragon
old new worn clean dirty mossy rusty brushed polished rough smooth glossy matte painted carved cracked weathered
light dark soft hard warm cold bright dusk dawn night day sunny foggy flat cinematic detailed photo painting
""".split()  # noqa: SIM905 - a list that people read and add to


def install_seeded_model(folder: Path) -> None:
    """Write the model into ``folder`` as a whole or not at all, whoever else is writing it at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".seeded-", dir=folder.parent))
    try:
        write_seeded_model(temporary)
        os.replace(temporary, folder)
    except OSError:
        if not folder.exists():  # otherwise another process was first, and wrote the same
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_seeded_model(folder: Path, seed: int = 0, in_channels: int = 4) -> None:
    """Write the model into ``folder``. in_channels: 9 makes an inpainting UNet. Same seed, same files."""
    transformers_logging.disable_progress_bar()
    vocab_size = write_tokenizer(folder / "tokenizer", learn_merges(WORDS, 600))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        _text_encoder(vocab_size).save_pretrained(folder / "text_encoder")
        _vae().save_pretrained(folder / "vae")
        unet = _unet(in_channels)
        unet.save_pretrained(folder / "unet")
        for kind in ("depth", "normal"):
            _controlnet(unet).save_pretrained(folder / f"controlnet_{kind}")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    (folder / "scumble_model.json").write_text(json.dumps(SEEDED_MANIFEST, indent=2), encoding="utf-8")


def _text_encoder(vocab_size: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=64,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    return CLIPTextModel(config)


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        norm_num_groups=8,
    )


def _unet(in_channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=in_channels,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=64,
        attention_head_dim=4,
    )


def _controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A copy of the UNet's encoder, as training starts from; but its outputs, zero at that point, are set going."""
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 32))
    for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.15)
    embedding = controlnet.controlnet_cond_embedding
    for layer in (embedding.conv_in, *embedding.blocks, embedding.conv_out):
        torch.nn.init.normal_(layer.weight, std=1.5 / layer.weight[0].numel() ** 0.5)
    return controlnet
