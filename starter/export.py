"""Writes the trained weights as a diffusers folder, half precision, in files of at most 15 MB.

python starter/export.py WORK server/scumble_server/models/starter --size cpu
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import checkpoint
import torch
from diffusers import DDIMScheduler
from model import (
    CONTROLS,
    SIZES,
    build_controlnet,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    build_vae,
    caption_merges,
    scheduler,
)
from scumble_server.models.tokenizer import write_tokenizer
from torch import nn
from trainer import averaged

__all__ = ["MANIFEST", "export", "pack"]

MANIFEST = {
    "id": "starter",
    "name": "Scumble starter",
    "family": "starter",
    "sampler": "ddim",
    "num_inference_steps": 8,
    "guidance_scale": 2.0,
    "width": 512,
    "height": 512,
    "prediction_type": "v_prediction",
    "control_kinds": list(CONTROLS),
    "note": "Small and quick: materials and light over your geometry. Install a full checkpoint for finished work.",
    "licence": "CC0-1.0",
}

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", DDIMScheduler.__name__],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def trained_modules(work: Path, size_name: str) -> dict[str, nn.Module]:
    """All networks with their averaged weights, by the name of their folder."""
    cpu, size = torch.device("cpu"), SIZES[size_name]
    modules: dict[str, nn.Module] = {
        "vae": build_vae(size), "unet": build_unet(size), "text_encoder": build_text_encoder(size, build_tokenizer()),
        **{f"controlnet_{name}": build_controlnet(size) for name in CONTROLS},
    }  # fmt: skip
    for name, module in modules.items():
        if name == "vae":
            module.decoder.load_state_dict(averaged(work, "decoder", "decoder", cpu))
        else:
            module.load_state_dict(averaged(work, "words" if name == "text_encoder" else "diffusion", name, cpu))
    return modules


def export(work: Path, folder: Path, size_name: str) -> None:
    """Replace the model files in ``folder``; a model card that lies there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in trained_modules(work, size_name).items():
        shutil.rmtree(folder / name, ignore_errors=True)
        module.half().save_pretrained(folder / name, max_shard_size="14MB")
    scheduler().save_pretrained(folder / "scheduler")
    write_tokenizer(folder / "tokenizer", caption_merges())
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", encoding="utf-8")
    (folder / "scumble_model.json").write_text(json.dumps(MANIFEST, indent=2) + "\n", encoding="utf-8")


def pack(work: Path, folder: Path, size_name: str) -> None:
    """All averaged weights in half precision in ``folder``: few files of at most 15 MB, to carry between machines.

    Copied to WORK/final elsewhere, they can be exported, or trained on from there.
    """
    modules = trained_modules(work, size_name)
    modules["decoder"] = modules.pop("vae").decoder
    weights = {
        f"average/{name}.{key}": tensor.half()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
    checkpoint.save(folder, weights, {"step": 0, "minutes": 0.0, "size": size_name})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    arguments = parser.parse_args()
    export(arguments.work, arguments.folder, arguments.size)


if __name__ == "__main__":
    main()
