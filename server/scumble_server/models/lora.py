"""Which files are LoRAs, and for which family: told by their tensors, then by what trainers write beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .safetensors_header import BadFileError, TensorEntry

__all__ = ["family_of_lora", "is_lora"]

Header = Mapping[str, TensorEntry]

MARKS = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.", "_lora.", "_lora1.", ".hada_w1_", ".lokr_w")
"""In the names of what every LoRA, LoHa or LoKr has: kohya's, peft's, the older ones of diffusers, XLabs'."""

TEXT_KEYS = re.compile(r"attn2[._](?:processor[._])?to_k[._]?(?:lora[._])?(?:lora_down|lora_A|down|hada_w1_b)")
"""What a UNet's attention to the text reads it with: as wide as the text."""

CONTEXTS = {768: "sd15", 1024: "sd2", 2048: "sdxl"}

FLUX_WIDTH = 3072
READS = re.compile(
    r"\.transformer_blocks\.\d+\.(?:attn\.(?:to|add)_[qkv]\w*|ff\w*\.net\.0\.proj)\.(?:lora_A|lora_down|down)"
)
"""What reads a transformer's tokens, as wide as they are: SD 3's blocks and half of FLUX's have the same names."""

ARCHITECTURES = (
    ("flux", "flux"),
    ("sd3", "sd3"),
    ("stable-diffusion-3", "sd3"),
    ("stable-diffusion-xl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-v1", "sd15"),
    ("sd_v1", "sd15"),
)
"""How trainers call what they trained on -> family."""


def is_lora(header: Header) -> bool:
    return any(mark in name for name in header for mark in MARKS)


def family_of_lora(header: Header, metadata: Mapping[str, str]) -> str:
    """Raises BadFileError if nothing tells."""
    for name, entry in header.items():
        if TEXT_KEYS.search(name) and len(entry.shape) >= 2 and entry.shape[1] in CONTEXTS:
            return CONTEXTS[entry.shape[1]]
    names = " ".join(header)
    if any(mark in names for mark in ("double_blocks", "single_blocks", "single_transformer_blocks")):
        return "flux"
    if any(READS.search(name) and entry.shape[-1] == FLUX_WIDTH for name, entry in header.items()):
        return "flux"
    if any(mark in names for mark in ("lora_te2_", "text_encoder_2.", "input_blocks_7_", "input_blocks_8_")):
        return "sdxl"
    said = " ".join(metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")).lower()
    for mark, family in ARCHITECTURES:
        if mark in said:
            return family
    if any(mark in names for mark in ("joint_blocks", "transformer.transformer_blocks", "lora_transformer_")):
        return "sd3"
    raise BadFileError("a LoRA that doesn't tell which family of models it is for")
