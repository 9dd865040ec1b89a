"""Models and ControlNets as diffusers folders: what they are, and whether their files are whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .detect import Weights, union_kinds
from .families import FAMILY_BY_CONTEXT, FLUX_UNION_MODES
from .manifest import read_json
from .previews import LATENTS, previews_for
from .safetensors_header import BadFileError, read_header

__all__ = [
    "check_weights",
    "is_controlnet_folder",
    "is_model_folder",
    "is_preview_folder",
    "read_controlnet_folder",
    "read_model_folder",
    "read_preview_folder",
]

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "unet": ("unet", "vae", "text_encoder"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2"),
    "sd3": ("transformer", "vae", "text_encoder", "text_encoder_2"),
    "flux": ("transformer", "vae", "text_encoder", "text_encoder_2"),
}
"""That have weights, by what kind of pipeline it is. T5 may be missing from SD 3."""

TRANSFORMERS = {"SD3Transformer2DModel": "sd3", "FluxTransformer2DModel": "flux"}
CONTROLNETS = {"SD3ControlNetModel": "sd3", "FluxControlNetModel": "flux", "ControlNetUnionModel": "sdxl"}

SIZE_AND_CROP = "text_time"
"""What SDXL's networks are told beside the prompt; no other family has it."""

FULL_SIZE = [320, 640, 1280, 1280]
"""Channels per level of every SD 1.5 UNet; another size needs ControlNets of its own."""


def is_model_folder(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()


def is_controlnet_folder(folder: Path) -> bool:
    return "ControlNet" in _class_of(folder)


def is_preview_folder(folder: Path) -> bool:
    """Whether it is an autoencoder for previews, of diffusers' AutoencoderTiny."""
    return _class_of(folder) == "AutoencoderTiny"


def _class_of(folder: Path) -> str:
    try:
        return str(read_json(folder / "config.json").get("_class_name", ""))
    except BadFileError:
        return ""


def read_model_folder(folder: Path) -> Weights:
    """Raises BadFileError if a component is missing, damaged or not of a known kind."""
    pipeline = str(read_json(folder / "model_index.json").get("_class_name", ""))
    transformer = read_json(folder / "transformer" / "config.json")
    family = TRANSFORMERS.get(str(transformer.get("_class_name", "")), "")
    if family:
        return _transformer(folder, family, transformer, pipeline)
    _check_parts(folder, "unet")
    unet = read_json(folder / "unet" / "config.json")
    latents = read_json(folder / "vae" / "config.json").get("latent_channels", 4)
    in_channels = unet.get("in_channels")
    # An inpainting model also sees the masked picture's latents, and the mask.
    if (
        not isinstance(latents, int)
        or unet.get("_class_name") != "UNet2DConditionModel"
        or (in_channels not in (latents, 2 * latents + 1))
    ):
        raise _unknown(pipeline)
    takes_guidance = True if unet.get("time_cond_proj_dim") is not None else None
    if unet.get("addition_embed_type") == SIZE_AND_CROP or "XL" in pipeline:
        _check_parts(folder, "sdxl")
        if "Refiner" in pipeline or unet.get("cross_attention_dim") == 1280:
            return Weights("checkpoint", "sdxl-refiner")
        return Weights("checkpoint", "sdxl", in_channels, takes_guidance=takes_guidance)
    return Weights("checkpoint", _family(unet), in_channels, takes_guidance=takes_guidance)


def _transformer(folder: Path, family: str, config: Mapping[str, object], pipeline: str) -> Weights:
    _check_parts(folder, family)
    seen = config.get("in_channels")
    if seen != (LATENTS if family == "sd3" else 4 * LATENTS):
        raise _unknown(pipeline)
    if family == "sd3":
        return Weights("checkpoint", family, LATENTS)
    return Weights("checkpoint", family, LATENTS, takes_guidance=bool(config.get("guidance_embeds")))


def _check_parts(folder: Path, kind: str) -> None:
    for component in COMPONENTS[kind]:
        check_weights(folder / component, component)
        tokenizer = component.replace("text_encoder", "tokenizer")
        if not (folder / tokenizer).is_dir():
            raise BadFileError(f"the folder {tokenizer} is missing")


def read_controlnet_folder(folder: Path) -> Weights:
    """Raises BadFileError likewise."""
    config = read_json(folder / "config.json")
    kind = str(config.get("_class_name"))
    if kind != "ControlNetModel" and kind not in CONTROLNETS:
        raise BadFileError(f"a {kind} is nothing this version can run")
    if config.get("global_pool_conditions"):
        raise BadFileError("a ControlNet that takes style, not shape; this version can't run it")
    check_weights(folder, folder.name)
    if kind == "ControlNetUnionModel":
        modes = config.get("num_control_type", 6)
        return Weights("controlnet", "sdxl", kinds=union_kinds(modes if isinstance(modes, int) else 6))
    if kind in CONTROLNETS:
        is_union = config.get("num_mode") is not None
        return Weights("controlnet", CONTROLNETS[kind], kinds=tuple(FLUX_UNION_MODES) if is_union else ())
    return Weights("controlnet", "sdxl" if config.get("addition_embed_type") == SIZE_AND_CROP else _family(config))


def read_preview_folder(folder: Path) -> str:
    """The family it is for. Raises BadFileError likewise."""
    check_weights(folder, folder.name)
    latents = read_json(folder / "config.json").get("latent_channels", 4)
    return previews_for(folder.name, latents if isinstance(latents, int) else 4)


def _family(config: Mapping[str, object]) -> str:
    width = config.get("cross_attention_dim")
    family = FAMILY_BY_CONTEXT.get(width, "") if isinstance(width, int) else ""
    return family if config.get("block_out_channels") == FULL_SIZE and family else "sd15-custom"


def _unknown(pipeline: str) -> BadFileError:
    return BadFileError(f"a pipeline of class {pipeline or 'unknown'} is nothing this version can run")


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
