"""What loading is for every family: components from folders and single files, in words if they don't fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderTiny
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from transformers.utils import logging as transformers_logging

from ...models.entries import ModelEntry
from ..device import Device
from ..fast.resnets import trim_resnets
from .packed import is_packed, packed_from_state, read_packed

__all__ = [
    "CONFIGS",
    "check_fits",
    "component",
    "config_of",
    "count_blocks",
    "from_state",
    "guarded",
    "has_cheap_decoder",
    "options",
    "preview_vae",
    "read_weights",
    "scheduler_config",
    "settle",
    "trained_as",
]

CONFIGS = Path(__file__).parents[2] / "models" / "configs"
"""Configurations of the components, for single files, which carry none; a folder for each family."""

CHEAP_DECODER = 8_000_000
"""Parameters up to which a decoder is quick enough for previews."""

Loaded = TypeVar("Loaded")


def guarded(name: str, load: Callable[[], Loaded]) -> Loaded:
    """What the libraries say of files that don't fit, as the one error the artist knows."""
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    try:
        return load()
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise ScumbleError(
            ErrorCode.MODEL_INVALID,
            f"{name} can't be loaded: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}",
            remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
        ) from error


def settle(module: torch.nn.Module, device: Device) -> None:
    """For inference, on its device. Channels last is as quick or quicker for convolutions, CPUs included."""
    module.requires_grad_(False).eval().to(device.torch_device)
    trim_resnets(module)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def component(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A component of diffusers from its own folder."""
    return kind.from_pretrained(folder, torch_dtype=dtype, **options(folder, "diffusion_pytorch_model"))


def from_state(kind: Any, config: Mapping[str, object], state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """A component of diffusers from tensors under its own names. Raises RuntimeError if they don't fit."""
    if any(is_packed(tensor) for tensor in state.values()):
        return packed_from_state(kind, config, state, dtype)
    with init_empty_weights():
        module = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    module.load_state_dict(dict(state), strict=True, assign=True)
    return module.to(dtype)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a single file, .safetensors or .gguf."""
    return read_packed(path) if path.suffix.lower() == ".gguf" else load_file(path)


def options(folder: Path, stem: str) -> dict[str, object]:
    """Only local safetensors; the half-precision variant where it is the only one there."""
    names = [file.name for file in folder.glob("*.safetensors")]
    plain = any(name == f"{stem}.safetensors" or name.startswith(f"{stem}-0") for name in names)
    return {"local_files_only": True, "use_safetensors": True, "variant": None if plain else "fp16"}


def config_of(folder: Path) -> dict[str, Any]:
    """Of a component, from its folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def count_blocks(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many numbers follow ``prefix`` in the tensors' names."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def scheduler_config(folder: Path) -> Mapping[str, object]:
    """Of a diffusers folder, or of a folder of configurations."""
    config: dict[str, object] = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return config


def trained_as(entry: ModelEntry, config: Mapping[str, object]) -> Mapping[str, object]:
    """The scheduler's configuration with what is known of the model beside."""
    if entry.prediction_type:
        config = {**config, "prediction_type": entry.prediction_type}
    if entry.timestep_spacing:
        config = {**config, "timestep_spacing": entry.timestep_spacing}
    if entry.zero_terminal_snr:
        config = {**config, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config


def has_cheap_decoder(vae: Any) -> bool:
    return bool(sum(parameter.numel() for parameter in vae.decoder.parameters()) <= CHEAP_DECODER)


def preview_vae(entry: ModelEntry, device: Device, vae: Any) -> Any:
    """A small autoencoder that draws previews, if one lies beside the models that knows latents of ``vae``; or None."""
    path = entry.preview_vae
    channels = vae.config.latent_channels
    if path is None:
        return None
    if path.is_file():
        small = guarded(path.name, lambda: _small_decoder(path, channels, vae.dtype))
    elif config_of(path).get("latent_channels", 4) == channels:
        small = guarded(path.name, lambda: component(AutoencoderTiny, path, vae.dtype))
    else:
        return None
    settle(small, device)
    return small


def _small_decoder(path: Path, channels: int, dtype: torch.dtype) -> Any:
    """From a file that has the decoder alone, its layers numbered after one without weights (TAESD's own format)."""
    with init_empty_weights():
        small = AutoencoderTiny(latent_channels=channels)
    del small.encoder
    state = {}
    for name, tensor in load_file(path).items():
        number, _, rest = name.partition(".")
        state[f"layers.{int(number) - 1}.{rest}"] = tensor
    small.decoder.load_state_dict(state, strict=True, assign=True)
    return small.to(dtype)


def check_fits(net: Any, name: str, module: Any, model: str, sizes: tuple[str, ...]) -> None:
    """Raises ScumbleError MODEL_MISMATCH if one of the ``sizes`` in their configurations differs."""
    for size in sizes:
        if _plain(net.config[size]) != _plain(module.config[size]):
            raise ScumbleError(
                ErrorCode.MODEL_MISMATCH,
                f"{name} was made for a model of another size than {model} ({size} differs)",
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
