"""Writes transformers under the names that their makers' files have, as Stability AI's SD 3 and BFL's FLUX."""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]

SD3_ENDS = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
SD3_BLOCK = {
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
SD3_TOGETHER = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
}
FLUX_ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
FLUX_DOUBLE_TOGETHER = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
FLUX_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
    "proj_out": "linear2",
}
FLUX_SINGLE_TOGETHER = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}


def sd3(state: State, prefix: str = "model.diffusion_model.") -> State:
    last = max(int(name.split(".")[1]) for name in state if name.startswith("transformer_blocks."))
    swapped = ("norm_out.linear", f"transformer_blocks.{last}.norm1_context.linear")
    return _written(state, prefix, SD3_ENDS, {"transformer_blocks": ("joint_blocks", SD3_BLOCK, SD3_TOGETHER)}, swapped)


def flux(state: State, prefix: str = "") -> State:
    blocks = {
        "transformer_blocks": ("double_blocks", FLUX_DOUBLE, FLUX_DOUBLE_TOGETHER),
        "single_transformer_blocks": ("single_blocks", FLUX_SINGLE, FLUX_SINGLE_TOGETHER),
    }
    found = _written(state, prefix, FLUX_ENDS, blocks, ("norm_out.linear",))
    return {name.replace("_norm.weight", "_norm.scale"): tensor for name, tensor in found.items()}


def _written(state, prefix, ends, blocks, swapped) -> State:
    result: State = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in swapped:
            scale, shift = tensor.chunk(2)
            tensor = torch.cat([shift, scale])
        if name in ends:
            result[prefix + ends[name]] = tensor
        elif layer in ends:
            result[f"{prefix}{ends[layer]}.{kind}"] = tensor
        else:
            block, number, *rest = layer.split(".")
            theirs, table, together = blocks[block]
            inner = ".".join(rest)
            for whole, parts in together.items():
                if inner == parts[0]:
                    pieces = [state[f"{block}.{number}.{part}.{kind}"] for part in parts]
                    result[f"{prefix}{theirs}.{number}.{whole}.{kind}"] = torch.cat(pieces)
            if inner in table:
                result[f"{prefix}{theirs}.{number}.{table[inner]}.{kind}"] = tensor
    return result
