"""A tiny ``MarigoldIntrinsicsPipeline`` with random weights, saved as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, MarigoldIntrinsicsPipeline, UNet2DConditionModel
from scumble_server.models.seeded import write_seeded_model
from transformers import CLIPTokenizer

__all__ = ["APPEARANCE", "LIGHTING", "write_intrinsics_model"]

APPEARANCE: dict[str, Any] = {
    "target_names": ["albedo", "material"],
    "albedo": {"prediction_space": "srgb", "up_to_scale": False},
    "material": {"prediction_space": "stack", "sub_target_names": ["roughness", "metallicity", None]},
    "roughness": {"prediction_space": "linear", "up_to_scale": False},
    "metallicity": {"prediction_space": "linear", "up_to_scale": False},
}
"""As the appearance model has it."""

LIGHTING: dict[str, Any] = {
    "target_names": ["albedo", "shading", "residual"],
    "albedo": {"prediction_space": "linear", "up_to_scale": True},
    "shading": {"prediction_space": "linear", "up_to_scale": True},
    "residual": {"prediction_space": "linear", "up_to_scale": True},
}
"""As the lighting model has it."""


def write_intrinsics_model(folder: Path, targets: dict[str, Any] | None = None) -> None:
    """targets: the pipeline's ``target_properties``, those of the appearance model by default."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    targets = APPEARANCE if targets is None else targets
    parts = folder.with_name(f"{folder.name}-parts")
    write_seeded_model(parts)
    count = len(targets["target_names"])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=4 * (count + 1),
            out_channels=4 * count,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=64,
            attention_head_dim=8,
        )
    MarigoldIntrinsicsPipeline(
        unet,
        AutoencoderKL.from_pretrained(parts / "vae"),
        DDIMScheduler(prediction_type="v_prediction", clip_sample=False, rescale_betas_zero_snr=True),
        CLIPTextModel.from_pretrained(parts / "text_encoder"),
        CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        prediction_type="intrinsics",
        target_properties=targets,
        default_denoising_steps=2,
        default_processing_resolution=64,
    ).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "MarigoldIntrinsicsPipeline"
