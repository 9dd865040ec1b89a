"""Stable Diffusion 1.5: CLIP text encoder, KL autoencoder, UNet, ControlNets; any size of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from ...models.builtin import ensure_builtin
from ...models.entries import ControlNetEntry, ModelEntry
from ...models.tokenizer import clip_tokenizer_tables
from ..device import Device
from ..embedding import PromptEncoder
from ..family import LoadedControlNet, LoadedModel

__all__ = ["CONFIG_FOLDER", "LATENT_TO_RGB", "StableDiffusion15"]

CONFIG_FOLDER = Path(__file__).parents[2] / "models" / "configs" / "sd15"
"""Configurations of the components, for single files, which carry none."""

LATENT_TO_RGB = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)
"""Least-squares fit of the SD 1.5 decoder: latent channel -> RGB in -1 to 1."""

CHEAP_DECODER = 8_000_000
"""Parameters up to which a decoder is quick enough for previews."""

Loaded = TypeVar("Loaded")
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

        tokenizer, text_encoder, vae, unet, config = _guarded(entry.name, load)
        for module in (text_encoder, vae, unet):
            _settle(module, device)
        if entry.prediction_type:
            config = {**config, "prediction_type": entry.prediction_type}
        if entry.zero_terminal_snr:
            config = {**config, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        cheap = sum(parameter.numel() for parameter in vae.decoder.parameters()) <= CHEAP_DECODER
        return LoadedModel(
            entry=entry,
            device=device,
            prompt_encoder=PromptEncoder(tokenizer, text_encoder),
            unet=unet,
            vae=vae,
            scheduler_config=config,
            latent_to_rgb=None if cheap else torch.tensor(LATENT_TO_RGB),
        )

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet:
        dtype = model.device.dtype
        net = _guarded(entry.name, lambda: _controlnet(entry.path, dtype, self.configs))
        for name in ("cross_attention_dim", "block_out_channels", "layers_per_block"):
            if _plain(net.config[name]) != _plain(model.unet.config[name]):
                raise ScumbleError(
                    ErrorCode.MODEL_MISMATCH,
                    f"{entry.name} was made for a model of another size than {model.entry.name} ({name} differs)",
                )
        _settle(net, model.device)
        embed = net.controlnet_cond_embedding
        net.controlnet_cond_embedding = torch.nn.Identity()
        if net.config.controlnet_conditioning_channel_order == "bgr":
            net.register_to_config(controlnet_conditioning_channel_order="rgb")
            embed = torch.nn.Sequential(_SwapChannels(), embed)
        return LoadedControlNet(entry, net, embed)


class _SwapChannels(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flip(1)


def _settle(module: torch.nn.Module, device: Device) -> None:
    """For inference, on its device. Channels last is as quick or quicker for convolutions, CPUs included."""
    module.requires_grad_(False).eval().to(device.torch_device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _from_folder(folder: Path, device: Device) -> Components:
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    text_encoder = folder / "text_encoder"
    return (
        CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        CLIPTextModel.from_pretrained(text_encoder, dtype=device.dtype, **_options(text_encoder, "model")),
        _component(AutoencoderKL, folder / "vae", device.vae_dtype),
        _component(UNet2DConditionModel, folder / "unet", device.dtype),
        scheduler,
    )


def _from_file(entry: ModelEntry, device: Device, configs: Path) -> Components:
    weights = load_file(entry.path)
    options = {"config": str(configs), "local_files_only": True}
    vocab, merges = clip_tokenizer_tables()
    scheduler = json.loads((configs / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    text_encoder = create_diffusers_clip_model_from_ldm(
        CLIPTextModel,
        dict(weights),
        subfolder="text_encoder",
        config=str(configs),
        torch_dtype=device.dtype,
        local_files_only=True,
    )
    return (
        CLIPTokenizer(vocab, merges, model_max_length=77),
        text_encoder,
        AutoencoderKL.from_single_file(dict(weights), subfolder="vae", torch_dtype=device.vae_dtype, **options),
        UNet2DConditionModel.from_single_file(
            dict(weights), subfolder="unet", torch_dtype=device.dtype, in_channels=entry.in_channels, **options
        ),
        scheduler,
    )


def _controlnet(path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_dir():
        return _component(ControlNetModel, path, dtype)
    return ControlNetModel.from_single_file(
        load_file(path), config=str(configs), subfolder="controlnet", torch_dtype=dtype, local_files_only=True
    )


def _component(component: Any, folder: Path, dtype: torch.dtype) -> Any:
    return component.from_pretrained(folder, torch_dtype=dtype, **_options(folder, "diffusion_pytorch_model"))


def _options(folder: Path, stem: str) -> dict[str, object]:
    """Only local safetensors; the half-precision variant where it is the only one there."""
    names = [file.name for file in folder.glob("*.safetensors")]
    plain = any(name == f"{stem}.safetensors" or name.startswith(f"{stem}-0") for name in names)
    return {"local_files_only": True, "use_safetensors": True, "variant": None if plain else "fp16"}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _guarded(name: str, load: Callable[[], Loaded]) -> Loaded:
    """What the libraries say of files that don't fit, as the one error the artist knows."""
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    try:
        return load()
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ScumbleError(
            ErrorCode.MODEL_INVALID,
            f"{name} can't be loaded: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}",
            remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
        ) from error
