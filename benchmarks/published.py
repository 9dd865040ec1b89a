"""Models at their exact published sizes with random weights, as diffusers folders: speed doesn't depend on training.

For ``benchmarks/gpu.py``. ``tiny`` keeps every class and connection and makes them a few channels wide, so that the
same benchmark can be rehearsed on a processor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    ControlNetUnionModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from scumble_server.models.seeded import WORDS
from scumble_server.models.tokenizer import CLIP_MERGES, clip_tokenizer_tables, learn_merges, write_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

__all__ = ["MODELS", "SMALL", "UNION", "write_small_autoencoder"]

CONFIGS = CLIP_MERGES.parent
Config = dict[str, Any]

TEXT_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
UNET_TINY = {"block_out_channels": [32, 64, 64, 64], "layers_per_block": 1, "norm_num_groups": 8}
NET_TINY = {"conditioning_embedding_out_channels": [8, 16, 16, 32]}
SDXL_TINY = {
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": [2, 4, 4],
    "transformer_layers_per_block": [1, 1, 2],
    "cross_attention_dim": 64,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 32,
}
UNION_TINY = {**NET_TINY, "num_proj_channel": 32, "num_trans_channel": 32, "num_trans_head": 4}
SD3_TINY = {
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": 80,
    "pooled_projection_dim": 64,
}
SD35_MEDIUM = {
    "dual_attention_layers": list(range(13)),
    "qk_norm": "rms_norm",
    "pos_embed_max_size": 384,
}
"""Where it differs from the SD 3 medium whose configuration lies in the package."""
VAE_TINY = {"block_out_channels": [16, 16, 32, 32], "layers_per_block": 1, "norm_num_groups": 8}
UNION = "union"
"""Folder of SDXL's ControlNet-Union."""

SD3_NET_LAYERS = 12
"""Of the ControlNets that InstantX has published for the medium sizes."""


def write_sd15(folder: Path, tiny: bool) -> None:
    """UNet, text encoder, autoencoder, and a ControlNet each for depth and normals."""
    with _random(21):
        width = _text_encoder(folder, "sd15", "", CLIPTextModel, tiny)
        _save(AutoencoderKL, _config("sd15/vae", tiny, VAE_TINY), folder / "vae")
        sizes = {**UNET_TINY, "cross_attention_dim": width, "attention_head_dim": 4}
        _save(UNet2DConditionModel, _config("sd15/unet", tiny, sizes), folder / "unet")
        for kind in ("depth", "normal"):
            config = _config("sd15/controlnet", tiny, {**sizes, **NET_TINY})
            _save(ControlNetModel, config, folder / f"controlnet_{kind}")
    _finish(folder, "StableDiffusionPipeline", DDIMScheduler, "sd15", 512)


def write_sdxl(folder: Path, tiny: bool) -> None:
    """Likewise, and a ControlNet-Union beside it."""
    with _random(22):
        _text_encoder(folder, "sdxl", "", CLIPTextModel, tiny)
        _text_encoder(folder, "sdxl", "_2", CLIPTextModelWithProjection, tiny)
        _save(AutoencoderKL, _config("sdxl/vae", tiny, VAE_TINY), folder / "vae")
        _save(UNet2DConditionModel, _config("sdxl/unet", tiny, SDXL_TINY), folder / "unet")
        for kind in ("depth", "normal"):
            config = _config("sdxl/controlnet", tiny, {**SDXL_TINY, **NET_TINY})
            _save(ControlNetModel, config, folder / f"controlnet_{kind}")
        config = _config("sdxl/controlnet_union", tiny, {**SDXL_TINY, **UNION_TINY})
        _save(ControlNetUnionModel, config, folder.parent / UNION)
    _finish(folder, "StableDiffusionXLPipeline", DDIMScheduler, "sdxl", 1024)


def write_sd35_medium(folder: Path, tiny: bool) -> None:
    """Without T5, as many run it; with one ControlNet for depth."""
    with _random(23):
        _text_encoder(folder, "sd3", "", CLIPTextModelWithProjection, tiny)
        _text_encoder(folder, "sd3", "_2", CLIPTextModelWithProjection, tiny)
        _save(AutoencoderKL, _config("sd3/vae", tiny, VAE_TINY), folder / "vae")
        shrunk = {**SD3_TINY, "dual_attention_layers": [0, 1]}
        config = {**_config("sd3/transformer", False, {}), **SD35_MEDIUM, **(shrunk if tiny else {})}
        _save(SD3Transformer2DModel, config, folder / "transformer")
        layers = {"num_layers": 2 if tiny else SD3_NET_LAYERS, "extra_conditioning_channels": 0}
        _save(SD3ControlNetModel, {**config, **layers}, folder / "controlnet_depth")
    _finish(folder, "StableDiffusion3Pipeline", FlowMatchEulerDiscreteScheduler, "sd3", 1024)


MODELS: Mapping[str, Callable[[Path, bool], None]] = {
    "sd15": write_sd15,
    "sdxl": write_sdxl,
    "sd35-medium": write_sd35_medium,
}
"""Each writes a folder of its own name."""


SMALL: Mapping[str, str] = {"sd15": "taesd", "sdxl": "taesdxl"}
"""Model -> folder of its small autoencoder."""


def write_small_autoencoder(folder: Path, tiny: bool) -> None:
    """Of TAESD's size, for latents of four channels."""
    channels = [8, 8, 8, 8] if tiny else [64, 64, 64, 64]
    sizes = {"encoder_block_out_channels": channels, "decoder_block_out_channels": channels}
    with _random(24):
        _save(AutoencoderTiny, sizes, folder)


# --- parts ------------------------------------------------------------------------------------------


@contextmanager
def _random(seed: int) -> Iterator[None]:
    """Weights are drawn where that is quick, and half as long as usual."""
    before, device = torch.get_default_dtype(), "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng(), torch.no_grad(), torch.device(device):
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float16 if device == "cuda" else torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _config(place: str, tiny: bool, shrunk: Config) -> Config:
    config: Config = json.loads((CONFIGS / place / "config.json").read_text(encoding="utf-8"))
    return {**config, **(shrunk if tiny else {})}


def _save(kind: Any, config: Config, folder: Path) -> None:
    """What training starts at zero is set going, or ControlNets would say nothing."""
    accepted = {key: value for key, value in config.items() if not key.startswith("_")}
    module = kind(**accepted) if kind is SD3ControlNetModel else kind.from_config(accepted)
    for parameter in module.parameters():
        if parameter.ndim > 1 and not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.02)
    module.save_pretrained(folder)
    del module
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _text_encoder(folder: Path, family: str, number: str, kind: Any, tiny: bool) -> int:
    """Returns its width."""
    merges = learn_merges(WORDS, 100) if tiny else clip_tokenizer_tables()[1]
    vocab_size = write_tokenizer(folder / f"tokenizer{number}", merges)
    config = _config(f"{family}/text_encoder{number}", tiny, {**TEXT_TINY, "projection_dim": 32})
    config |= {"vocab_size": vocab_size, "bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1}
    config |= {"pad_token_id": vocab_size - 1}
    encoder = kind(CLIPTextConfig(**config))
    encoder.save_pretrained(folder / f"text_encoder{number}")
    return int(config["hidden_size"])


def _finish(folder: Path, pipeline: str, scheduler: Any, family: str, side: int) -> None:
    settings = json.loads((CONFIGS / family / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler.from_config(settings).save_pretrained(folder / "scheduler")
    index = {"_class_name": pipeline, **_parts(folder)}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    manifest = {
        "name": folder.name,
        "family": family,
        "control_kinds": ["depth", "normal"],
        "width": side,
        "height": side,
    }
    (folder / "scumble_model.json").write_text(json.dumps(manifest), encoding="utf-8")


def _parts(folder: Path) -> dict[str, list[str]]:
    """Of a pipeline: name -> library and class."""
    found = {"scheduler": ["diffusers", _named(folder / "scheduler" / "scheduler_config.json", "_class_name")]}
    for part in folder.iterdir():
        if part.name.startswith("tokenizer"):
            found[part.name] = ["transformers", "CLIPTokenizer"]
        elif part.name.startswith("text_encoder"):
            found[part.name] = ["transformers", _named(part / "config.json", "architectures")]
        elif part.is_dir() and part.name in ("unet", "transformer", "vae"):
            found[part.name] = ["diffusers", _named(part / "config.json", "_class_name")]
    return found


def _named(path: Path, key: str) -> str:
    value = json.loads(path.read_text(encoding="utf-8"))[key]
    return str(value[0] if isinstance(value, list) else value)
