"""What a single weights file is, told by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .safetensors_header import BadFileError, TensorEntry
from .upscalers import is_upscaler

__all__ = ["FAMILY_BY_CONTEXT", "Weights", "detect", "family_name"]

FAMILY_BY_CONTEXT = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""Width of the text embedding the UNet attends to -> family."""

NAMES = {
    "sd15": "Stable Diffusion 1.5",
    "sd15-custom": "Stable Diffusion 1.5 of an unusual size",
    "sd2": "Stable Diffusion 2",
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX",
    "starter": "the starter model",
}

Header = Mapping[str, TensorEntry]


@dataclass(frozen=True, slots=True)
class Weights:
    """role: "checkpoint", "controlnet" or "upscaler", which is of no family. in_channels: of the UNet; 9 is an
    inpainting model.

    prediction_type: "epsilon" or "v_prediction". zero_terminal_snr: the noise schedule ends in pure noise.
    """

    role: str
    family: str
    in_channels: int = 4
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False


def detect(header: Header) -> Weights:
    """Raises BadFileError for anything that is neither a whole checkpoint nor a ControlNet nor an upscaler."""
    if any(".lora_" in name or "lora_down" in name or ".lora." in name for name in header):
        raise BadFileError("this is a LoRA, which changes a model and is none by itself")
    for prefix in ("control_model.", ""):
        if f"{prefix}zero_convs.0.0.weight" in header:
            return Weights("controlnet", _ldm_family(header, prefix))
    if "controlnet_cond_embedding.conv_in.weight" in header:
        return Weights("controlnet", _diffusers_family(header))
    if any(".joint_blocks." in name or name.startswith("joint_blocks.") for name in header):
        return Weights("checkpoint", "sd3")
    if any("double_blocks." in name for name in header):
        return Weights("checkpoint", "flux")
    unet = "model.diffusion_model."
    if f"{unet}input_blocks.0.0.weight" in header:
        return _checkpoint(header, unet)
    if "encoder.conv_in.weight" in header and "decoder.conv_in.weight" in header:
        raise BadFileError("this is a VAE alone, not a whole checkpoint")
    if "down_blocks.0.resnets.0.conv1.weight" in header:
        raise BadFileError("this is a UNet alone; keep it in the diffusers folder it came with")
    if is_upscaler(header.keys()):
        return Weights("upscaler", "")
    raise BadFileError("no model this version knows: its tensors have unfamiliar names")


def family_name(family: str) -> str:
    """As people call it."""
    return NAMES.get(family, family)


def _checkpoint(header: Header, unet: str) -> Weights:
    family = _ldm_family(header, unet)
    if family == "sd15":
        for prefix, what in (("first_stage_model.", "VAE"), ("cond_stage_model.", "text encoder")):
            if not any(name.startswith(prefix) for name in header):
                raise BadFileError(f"the {what} is missing from this checkpoint; get the full version")
    return Weights(
        "checkpoint",
        family,
        in_channels=header[f"{unet}input_blocks.0.0.weight"].shape[1],
        prediction_type="v_prediction" if "v_pred" in header else "epsilon",
        zero_terminal_snr="ztsnr" in header,
    )


def _ldm_family(header: Header, prefix: str) -> str:
    blocks = (f"{prefix}input_blocks.{block}.1.transformer_blocks.0.attn2.to_k.weight" for block in (1, 2, 4, 5))
    return _by_context(header, blocks)


def _diffusers_family(header: Header) -> str:
    blocks = (f"down_blocks.{block}.attentions.0.transformer_blocks.0.attn2.to_k.weight" for block in (0, 1))
    return _by_context(header, blocks)


def _by_context(header: Header, names: Iterable[str]) -> str:
    for name in names:
        if name in header and len(header[name].shape) == 2:
            width = header[name].shape[1]
            return FAMILY_BY_CONTEXT.get(width, f"context-{width}")
    raise BadFileError("no model this version knows: it attends to no text")
