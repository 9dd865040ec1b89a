"""FLUX's transformer under the names of its makers -> under those of diffusers, for any size of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

__all__ = ["renamed"]

State = Mapping[str, torch.Tensor]

PREFIX = "model.diffusion_model."

ENDS = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}

DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}

SINGLE = {
    "modulation.lin": "norm.linear",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
    "linear2": "proj_out",
}

TOGETHER = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}
"""Layers whose outputs are one beside the other in one."""


def renamed(weights: State) -> dict[str, torch.Tensor]:
    """The transformer's tensors of a checkpoint, with or without other components. Raises KeyError for unknown ones."""
    has_prefix = any(name.startswith(PREFIX) for name in weights)
    names = [name for name in weights if name.startswith(PREFIX)] if has_prefix else list(weights)
    width = weights[(PREFIX if has_prefix else "") + "txt_in.weight"].shape[0]
    return dict(pair for name in names for pair in _renamed(name.removeprefix(PREFIX), weights[name], width))


def _renamed(name: str, tensor: torch.Tensor, width: int) -> Iterator[tuple[str, torch.Tensor]]:
    layer, _, kind = name.rpartition(".")
    kind = "weight" if kind == "scale" else kind
    if layer in ENDS:
        if layer == "final_layer.adaLN_modulation.1":
            shift, scale = tensor.chunk(2)
            tensor = torch.cat([scale, shift])
        yield f"{ENDS[layer]}.{kind}", tensor
        return
    block, number, *rest = layer.split(".")
    inner = ".".join(rest)
    kinds = {"double_blocks": ("transformer_blocks", DOUBLE), "single_blocks": ("single_transformer_blocks", SINGLE)}
    blocks, table = kinds[block]
    if inner in TOGETHER:
        news = TOGETHER[inner]
        sizes = [width, width, width, len(tensor) - 3 * width][: len(news)]
        parts = torch.split(tensor, sizes)
        for new, part in zip(news, parts, strict=True):
            yield f"{blocks}.{number}.{new}.{kind}", part
    else:
        yield f"{blocks}.{number}.{table[inner]}.{kind}", tensor
