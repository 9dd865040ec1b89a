"""What a single weights file is, told by the names and shapes of its tensors and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .adapters import adapter_reads, encoder_sizes, family_of_adapter, is_adapter, is_encoder
from .families import FAMILY_BY_CONTEXT, FLUX_UNION_MODES, UNION_MODES
from .lora import family_of_lora, is_lora
from .previews import latents_of_decoder
from .safetensors_header import BadFileError, TensorEntry
from .upscalers import is_upscaler

__all__ = ["Weights", "detect", "union_kinds"]

FLUX_TOKEN = 64
"""Channels of what FLUX's transformer sees as one; more are a picture beside the prompt."""

Header = Mapping[str, TensorEntry]


@dataclass(frozen=True, slots=True)
class Weights:
    """role: "checkpoint", "controlnet", "lora", "adapter" (IP-Adapter), "encoder" (of images, for the former),
    "preview" (a small decoder) or "upscaler"; the last three are of no family.

    in_channels: of the UNet; 9 is an inpainting model; of a preview's latents. prediction_type: "epsilon" or
    "v_prediction".
    zero_terminal_snr: the noise schedule ends in pure noise. kinds: that a ControlNet-Union takes. takes_guidance: the
    guidance scale is an input (None: no matter). is_whole: else a folder of the family must lend the rest. reads: what
    an adapter reads of an encoder. widths: of what it reads; of an encoder, hidden and projection.
    """

    role: str
    family: str
    in_channels: int = 4
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    kinds: tuple[str, ...] = ()
    takes_guidance: bool | None = None
    is_whole: bool = True
    reads: str = ""
    widths: tuple[int, ...] = ()


def detect(header: Header, metadata: Mapping[str, str] | None = None) -> Weights:
    """metadata: of the file. Raises BadFileError for whatever is none of these roles as a whole."""
    said = metadata or {}
    if is_adapter(header):  # some have a LoRA in the same file
        reads, width = adapter_reads(header)
        return Weights("adapter", family_of_adapter(header), reads=reads, widths=(width,))
    if is_encoder(header):
        return Weights("encoder", "", widths=encoder_sizes(header))
    if is_lora(header):
        return Weights("lora", family_of_lora(header, said))
    if controlnet := _controlnet(header):
        return controlnet
    if checkpoint := _transformer(header):
        return checkpoint
    unet = "model.diffusion_model."
    if f"{unet}input_blocks.0.0.weight" in header:
        return _checkpoint(header, unet, said)
    if "encoder.conv_in.weight" in header and "decoder.conv_in.weight" in header:
        raise BadFileError("this is a VAE alone, not a whole checkpoint")
    if "down_blocks.0.resnets.0.conv1.weight" in header:
        raise BadFileError("this is a UNet alone; keep it in the diffusers folder it came with")
    if "transformer_blocks.0.attn.add_k_proj.weight" in header:
        raise BadFileError("this is a transformer alone; keep it in the diffusers folder it came with")
    if latents := latents_of_decoder(header):
        return Weights("preview", "", latents)
    if is_upscaler(header.keys()):
        return Weights("upscaler", "")
    raise BadFileError("no model this version knows: its tensors have unfamiliar names")


# --- ControlNets --------------------------------------------------------------------------------------


def _controlnet(header: Header) -> Weights | None:
    for prefix in ("control_model.", ""):
        if f"{prefix}zero_convs.0.0.weight" in header:
            return Weights("controlnet", _ldm_family(header, prefix))
    if "task_embedding" in header and "control_add_embedding.linear_1.weight" in header:
        return Weights("controlnet", "sdxl", kinds=union_kinds(header["task_embedding"].shape[0]))
    if "controlnet_cond_embedding.conv_in.weight" in header:
        is_xl = "add_embedding.linear_1.weight" in header
        return Weights("controlnet", "sdxl" if is_xl else _diffusers_family(header))
    if "controlnet_x_embedder.weight" in header:
        is_union = "controlnet_mode_embedder.weight" in header
        return Weights("controlnet", "flux", kinds=tuple(FLUX_UNION_MODES) if is_union else ())
    if "pos_embed_input.proj.weight" in header:
        return Weights("controlnet", "sd3")
    return None


def union_kinds(modes: int) -> tuple[str, ...]:
    """That a ControlNet-Union for SDXL with so many modes was trained on."""
    return tuple(kind for kind, mode in UNION_MODES.items() if mode < modes)


# --- checkpoints --------------------------------------------------------------------------------------


def _transformer(header: Header) -> Weights | None:
    """SD 3 and FLUX."""
    inner = {name.removeprefix("model.diffusion_model.") for name in header}
    has_vae = any(name.startswith(("first_stage_model.", "vae.")) for name in header)
    if any(name.startswith("joint_blocks.") for name in inner):
        texts = all(any(name.startswith(f"text_encoders.{part}.") for name in header) for part in ("clip_l", "clip_g"))
        return Weights("checkpoint", "sd3", in_channels=16, is_whole=has_vae and texts)
    if not any(name.startswith(("double_blocks.", "double_stream_")) for name in inner):
        return None
    if any("single_stream_modulation" in name or "double_stream_" in name for name in inner):
        return Weights("checkpoint", "flux2")
    if any(name.startswith("distilled_guidance_layer.") for name in inner):
        return Weights("checkpoint", "chroma")
    for name in ("img_in.weight", "model.diffusion_model.img_in.weight"):
        if name in header and len(header[name].shape) == 2 and header[name].shape[1] != FLUX_TOKEN:
            raise BadFileError("a FLUX that wants a picture beside the prompt (Fill, Depth, Canny), which isn't known")
    guided = any(name.startswith("guidance_in.") for name in inner)
    return Weights("checkpoint", "flux", in_channels=16, takes_guidance=guided, is_whole=False)


PARTS = {
    "sd15": (("first_stage_model.", "VAE"), ("cond_stage_model.", "text encoder")),
    "sdxl": (("first_stage_model.", "VAE"), ("conditioner.embedders.", "text encoder")),
}


def _checkpoint(header: Header, unet: str, said: Mapping[str, str]) -> Weights:
    family = "playground" if "edm_mean" in header else _ldm_family(header, unet)
    for prefix, what in PARTS.get(family, ()):
        if not any(name.startswith(prefix) for name in header):
            named = " SDXL" if family == "sdxl" else ""
            raise BadFileError(f"the {what} is missing from this{named} checkpoint; get the full version")
    is_v = "v_pred" in header or said.get("modelspec.prediction_type") in ("v", "v_prediction")
    return Weights(
        "checkpoint",
        family,
        in_channels=header[f"{unet}input_blocks.0.0.weight"].shape[1],
        prediction_type="v_prediction" if is_v else "epsilon",
        zero_terminal_snr="ztsnr" in header,
        takes_guidance=True if f"{unet}time_embed.cond_proj.weight" in header else None,
    )


def _ldm_family(header: Header, prefix: str) -> str:
    blocks = (f"{prefix}input_blocks.{block}.1.transformer_blocks.0.attn2.to_k.weight" for block in range(1, 6))
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
