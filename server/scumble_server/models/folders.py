"""Models and ControlNets as diffusers folders: what they are, and whether their files are whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .detect import FAMILY_BY_CONTEXT, Weights
from .manifest import read_json
from .safetensors_header import BadFileError, read_header

__all__ = ["check_weights", "is_controlnet_folder", "is_model_folder", "read_controlnet_folder", "read_model_folder"]

COMPONENTS = ("unet", "vae", "text_encoder")
SIZE_AND_CROP = "text_time"
"""What SDXL's networks are told beside the prompt; no other family has it."""

FULL_SIZE = [320, 640, 1280, 1280]
"""Channels per level of every SD 1.5 UNet; another size needs ControlNets of its own."""


def is_model_folder(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()


def is_controlnet_folder(folder: Path) -> bool:
    try:
        return "ControlNet" in str(read_json(folder / "config.json").get("_class_name", ""))
    except BadFileError:
        return False


def read_model_folder(folder: Path) -> Weights:
    """Raises BadFileError if a component is missing, damaged or not of a known kind."""
    pipeline = str(read_json(folder / "model_index.json").get("_class_name", ""))
    for component in COMPONENTS:
        check_weights(folder / component, component)
    if not (folder / "tokenizer").is_dir():
        raise BadFileError("the folder tokenizer is missing")
    unet = read_json(folder / "unet" / "config.json")
    if unet.get("addition_embed_type") == SIZE_AND_CROP or "XL" in pipeline:
        return Weights("checkpoint", "sdxl")
    in_channels = unet.get("in_channels")
    latents = read_json(folder / "vae" / "config.json").get("latent_channels", 4)
    # An inpainting model also sees the masked picture's latents, and the mask.
    if (
        not isinstance(latents, int)
        or unet.get("_class_name") != "UNet2DConditionModel"
        or (in_channels not in (latents, 2 * latents + 1))
    ):
        raise BadFileError(f"a pipeline of class {pipeline or 'unknown'} is nothing this version can run")
    return Weights("checkpoint", _family(unet), in_channels)


def read_controlnet_folder(folder: Path) -> Weights:
    """Raises BadFileError likewise."""
    config = read_json(folder / "config.json")
    if config.get("_class_name") != "ControlNetModel":
        raise BadFileError(f"a {config.get('_class_name')} is nothing this version can run")
    if config.get("global_pool_conditions"):
        raise BadFileError("a ControlNet that takes style, not shape; this version can't run it")
    check_weights(folder, folder.name)
    return Weights("controlnet", "sdxl" if config.get("addition_embed_type") == SIZE_AND_CROP else _family(config))


def _family(config: Mapping[str, object]) -> str:
    width = config.get("cross_attention_dim")
    family = FAMILY_BY_CONTEXT.get(width, "") if isinstance(width, int) else ""
    return family if config.get("block_out_channels") == FULL_SIZE and family else "sd15-custom"


def check_weights(folder: Path, name: str) -> None:
    """Raises BadFileError unless a component's weights are there, whole and safe to open."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if any(folder.glob("*.bin")):
            raise BadFileError(f"{name} has only .bin weights, which can run code when opened; use .safetensors")
        raise BadFileError(f"{name} has no .safetensors weights")
    for index in folder.glob("*.safetensors.index.json"):
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise BadFileError(f"{name}: {index.name} is damaged")
        for shard in sorted({str(shard) for shard in weight_map.values()} - {file.name for file in files}):
            raise BadFileError(f"{name}: the part {shard} is missing")
    for file in files:
        try:
            read_header(file)
        except BadFileError as error:
            raise BadFileError(f"{name}/{file.name}: {error}") from error
