"""Stable Diffusion 1.5: CLIP text encoder, KL autoencoder, UNet, ControlNets; any size of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from ...models.builtin import ensure_builtin
from ...models.entries import ControlNetEntry, ModelEntry
from ...models.tokenizer import clip_tokenizer_tables
from ..device import Device
from ..embedding import PromptEncoder
from ..family import LatentColours, LoadedControlNet, LoadedModel
from .loading import (
    CONFIGS,
    check_fits,
    component,
    guarded,
    has_cheap_decoder,
    options,
    preview_vae,
    scheduler_config,
    settle,
    trained_as,
)
from .unet import UNet, UNetControlNet, without_embedding

__all__ = ["CONFIG_FOLDER", "LATENT_TO_RGB", "StableDiffusion15"]

CONFIG_FOLDER = CONFIGS / "sd15"

LATENT_TO_RGB = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)
"""Least-squares fit of the SD 1.5 decoder: latent channel -> RGB in -1 to 1."""

SIZES = ("cross_attention_dim", "block_out_channels", "layers_per_block")

Components = tuple[Any, Any, Any, Any, Mapping[str, object]]
"""Tokenizer, text encoder, autoencoder, UNet, and the scheduler's configuration."""


@dataclass(frozen=True, slots=True)
class StableDiffusion15:
    """The family seam (:class:`..family.Family`) for this architecture.

    configs: folder with the components' configurations for single files.
    """

    configs: Path = CONFIG_FOLDER

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel:
        ensure_builtin(entry.path)

        def load() -> Components:
            if entry.path.is_file():
                return _from_file(entry, device, self.configs)
            return _from_folder(entry.path, device)

        tokenizer, text_encoder, vae, unet, config = guarded(entry.name, load)
        for module in (text_encoder, vae, unet):
            settle(module, device)
        return LoadedModel(
            entry=entry,
            device=device,
            prompt_encoder=PromptEncoder(tokenizer, text_encoder),
            network=UNet(unet),
            vae=vae,
            scheduler_config=trained_as(entry, config),
            colours=None if has_cheap_decoder(vae) else LatentColours.of(LATENT_TO_RGB),
            preview_vae=preview_vae(entry, device, vae),
        )

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet:
        assert isinstance(model.network, UNet)
        dtype = model.device.dtype
        net = guarded(entry.name, lambda: _controlnet(entry.path, dtype, self.configs))
        check_fits(net, entry.name, model.network.module, model.entry.name, SIZES)
        settle(net, model.device)
        return UNetControlNet(entry, net, without_embedding(net), model.network)


def _from_folder(folder: Path, device: Device) -> Components:
    text_encoder = folder / "text_encoder"
    return (
        CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        CLIPTextModel.from_pretrained(text_encoder, dtype=device.dtype, **options(text_encoder, "model")),
        component(AutoencoderKL, folder / "vae", device.vae_dtype),
        component(UNet2DConditionModel, folder / "unet", device.dtype),
        scheduler_config(folder),
    )


def _from_file(entry: ModelEntry, device: Device, configs: Path) -> Components:
    weights = load_file(entry.path)
    local = {"config": str(configs), "local_files_only": True}
    vocab, merges = clip_tokenizer_tables()
    text_encoder = create_diffusers_clip_model_from_ldm(
        CLIPTextModel, dict(weights), subfolder="text_encoder", torch_dtype=device.dtype, **local
    )
    return (
        CLIPTokenizer(vocab, merges, model_max_length=77),
        text_encoder,
        AutoencoderKL.from_single_file(dict(weights), subfolder="vae", torch_dtype=device.vae_dtype, **local),
        UNet2DConditionModel.from_single_file(
            dict(weights), subfolder="unet", torch_dtype=device.dtype, in_channels=entry.in_channels, **local
        ),
        scheduler_config(configs),
    )


def _controlnet(path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_dir():
        return component(ControlNetModel, path, dtype)
    return ControlNetModel.from_single_file(
        load_file(path), config=str(configs), subfolder="controlnet", torch_dtype=dtype, local_files_only=True
    )
