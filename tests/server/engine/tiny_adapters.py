"""IP-Adapters and an image encoder with random weights, in the files and under the names that the real ones have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import IPAdapterFullImageProjection, IPAdapterPlusImageProjection
from safetensors.torch import save_file
from scumble_server.models.entries import AdapterEntry, EncoderEntry
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

HIDDEN, PROJECTION = 64, 24
"""Widths of the tiny encoder."""

STRENGTH = 0.4
"""Spread of random weights, so that pictures have a say."""


def write_encoder(folder: Path) -> EncoderEntry:
    """As h94/IP-Adapter has it: a folder of transformers."""
    torch.manual_seed(5)
    config = CLIPVisionConfig(
        hidden_size=HIDDEN,
        projection_dim=PROJECTION,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=16,
        image_size=32,
        patch_size=8,
        hidden_act="gelu",
        initializer_factor=4.0,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return EncoderEntry("encoder", "encoder", folder, HIDDEN, PROJECTION)


def write_encoder_file(folder: Path, path: Path) -> EncoderEntry:
    """The same in a single file, as ComfyUI keeps them."""
    whole = CLIPVisionModelWithProjection.from_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in whole.state_dict().items()}, path)
    return EncoderEntry("encoder-file", "encoder-file", path, HIDDEN, PROJECTION)


def write_adapter(
    path: Path,
    unet: Any,
    kind: str = "plain",
    seed: int = 1,
    width: int = PROJECTION,
    dtype: torch.dtype = torch.float32,
) -> AdapterEntry:
    """For a UNet: "plain" reads the projection, of ``width``; "plus" and "full" (faces) the hidden layers."""
    torch.manual_seed(seed)
    text = unet.config.cross_attention_dim
    state = {f"image_proj.{name}": tensor for name, tensor in _projection(kind, text, width).items()}
    state |= {f"ip_adapter.{name}": tensor for name, tensor in _attentions(unet, text).items()}
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in state.items()}, path)
    reads, read = ("projection", width) if kind == "plain" else ("hidden", HIDDEN)
    return AdapterEntry(path.stem, path.stem, "starter", path, reads, read)


def _attentions(unet: Any, width: int) -> dict[str, torch.Tensor]:
    """Numbered over self- and cross-attentions, of which only the latter have weights: 1, 3, 5 ..."""
    made = {}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for place, name in enumerate(names):
        rows = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for which in ("k", "v"):
            made[f"{2 * place + 1}.to_{which}_ip.weight"] = torch.randn(rows, width) * STRENGTH
    return made


def _projection(kind: str, width: int, read: int) -> dict[str, torch.Tensor]:
    if kind == "plain":
        return {
            "proj.weight": torch.randn(4 * width, read) * STRENGTH,
            "proj.bias": torch.randn(4 * width) * STRENGTH,
            "norm.weight": torch.ones(width),
            "norm.bias": torch.zeros(width),
        }
    if kind == "full":
        made = IPAdapterFullImageProjection(image_embed_dim=HIDDEN, cross_attention_dim=width).state_dict()
        names = (("ff.net.0.proj", "proj.0"), ("ff.net.2", "proj.2"), ("norm", "proj.3"))
        return {_renamed(name, names): tensor for name, tensor in made.items()}
    made = IPAdapterPlusImageProjection(
        embed_dims=HIDDEN, output_dims=width, hidden_dims=64, depth=4, heads=1, num_queries=4
    ).state_dict()
    return _plus(made)


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in names:
        if name.startswith(ours):
            return name.replace(ours, theirs, 1)
    return name


def _plus(made: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of diffusers -> as the original code saves it: keys and values in one, and layers by number."""
    inner = (
        ("ln0.", "0.norm1."),
        ("ln1.", "0.norm2."),
        ("attn.to_q.", "0.to_q."),
        ("attn.to_out.0.", "0.to_out."),
        ("ff.0.", "1.0."),
        ("ff.1.net.0.proj.", "1.1."),
        ("ff.1.net.2.", "1.3."),
    )
    state = {}
    for name, tensor in made.items():
        if not name.startswith("layers."):
            state[name] = tensor
            continue
        _, layer, rest = name.split(".", 2)
        if rest == "attn.to_k.weight":
            both = (tensor, made[f"layers.{layer}.attn.to_v.weight"])
            state[f"layers.{layer}.0.to_kv.weight"] = torch.cat(both)
        elif rest != "attn.to_v.weight":
            state[f"layers.{layer}.{_renamed(rest, inner)}"] = tensor
    return state
