"""What IP-Adapters look at pictures with: a CLIP image encoder of transformers, from its folder or a single file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from PIL import Image
from safetensors.torch import load_file
from scumble_shared.tensor import AnyArray
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from ...models.entries import EncoderEntry
from ..device import Device
from ..families.loading import count_blocks, guarded, options, settle

__all__ = ["LoadedEncoder", "load_encoder"]

HEADS = 16
"""Of every CLIP image encoder that adapters were made for: ViT-L, ViT-H and ViT-bigG."""

WIDEST = 4
"""Of what is longer than this many times its other side only the middle is looked at: all of it would be enlarged
before the rest is cut away."""


@dataclass(slots=True)
class LoadedEncoder:
    """module: CLIPVisionModelWithProjection. home: where its weights lie while it doesn't look. work: where it does."""

    module: Any
    processor: Any
    home: torch.device
    work: torch.device

    @torch.inference_mode()
    def look(self, image: AnyArray, hidden: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """What it sees in a picture, uint8 H x W x 3, and in none: both 1 x width, or 1 x parts x width of the layers
        but one if ``hidden``. As diffusers' pipelines ask it."""
        pixels = self.processor(Image.fromarray(_middle(image)), return_tensors="pt").pixel_values
        self.module.to(self.work)
        try:
            pixels = pixels.to(self.work, self.module.dtype)
            if not hidden:
                seen = self.module(pixels).image_embeds
                return seen, torch.zeros_like(seen)
            of_nothing = self.module(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
            return self.module(pixels, output_hidden_states=True).hidden_states[-2], of_nothing
        finally:
            self.module.to(self.home)


def load_encoder(entry: EncoderEntry, device: Device) -> LoadedEncoder:
    """Raises ScumbleError MODEL_INVALID for files that don't fit."""

    def load() -> Any:
        if entry.path.is_dir():
            kind = CLIPVisionModelWithProjection
            return kind.from_pretrained(entry.path, dtype=device.dtype, **options(entry.path, "model"))
        return _from_state(load_file(entry.path), device.dtype)

    module = guarded(entry.name, load)
    home = torch.device("cpu") if device.torch_device.type == "cuda" else device.torch_device
    settle(module, Device(home, device.dtype, device.label))
    side = module.config.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LoadedEncoder(module, processor, home, device.torch_device)


def _middle(image: AnyArray) -> AnyArray:
    height, width = image.shape[:2]
    longest = WIDEST * min(height, width)
    top, left = (max(0, side - longest) // 2 for side in (height, width))
    return image[top : top + longest, left : left + longest]


def _from_state(state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """Sizes are told by the tensors."""
    layers = "vision_model.encoder.layers."
    patches = state["vision_model.embeddings.patch_embedding.weight"]
    across = round((len(state["vision_model.embeddings.position_embedding.weight"]) - 1) ** 0.5)
    config = CLIPVisionConfig(
        hidden_size=len(state["vision_model.embeddings.class_embedding"]),
        intermediate_size=len(state[f"{layers}0.mlp.fc1.weight"]),
        projection_dim=len(state["visual_projection.weight"]),
        num_hidden_layers=count_blocks(state, layers),
        num_attention_heads=HEADS,
        image_size=across * patches.shape[-1],
        patch_size=patches.shape[-1],
        hidden_act="gelu",
    )
    with init_empty_weights(include_buffers=False):
        module = CLIPVisionModelWithProjection(config)
    names = module.state_dict().keys()
    fitting = {name: tensor.to(dtype) for name, tensor in state.items() if name in names}
    module.load_state_dict(fitting, strict=False, assign=True)
    missing = sorted(name for name, parameter in module.named_parameters() if parameter.is_meta)
    if missing:
        raise KeyError(f"its tensor {missing[0]} is missing, and {len(missing) - 1} more")
    return module
