"""Writes components under the tensor names of original Stable Diffusion checkpoints, as most people's files have them.

The names are those of the CompVis code; how they correspond is described in diffusers' conversion script.
"""

from __future__ import annotations

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
State = dict[str, torch.Tensor]


def unet_names(layers: int, levels: int = 4, plain: int | None = 0) -> dict[str, str]:
    """Prefixes, diffusers -> original, of a UNet (its first half is a ControlNet's, too).

    plain: the level on the way up that attends to no text.
    """
    names: dict[str, str] = {}
    for level in range(levels):
        for layer in range(layers):
            block = (layers + 1) * level + layer + 1
            names[f"down_blocks.{level}.resnets.{layer}."] = f"input_blocks.{block}.0."
            names[f"down_blocks.{level}.attentions.{layer}."] = f"input_blocks.{block}.1."
        names[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{(layers + 1) * (level + 1)}.0.op."
        for layer in range(layers + 1):
            block = (layers + 1) * level + layer
            names[f"up_blocks.{level}.resnets.{layer}."] = f"output_blocks.{block}.0."
            names[f"up_blocks.{level}.attentions.{layer}."] = f"output_blocks.{block}.1."
        last = (layers + 1) * level + layers
        names[f"up_blocks.{level}.upsamplers.0."] = f"output_blocks.{last}.{1 if level == plain else 2}."
    names |= {f"mid_block.resnets.{i}.": f"middle_block.{2 * i}." for i in range(2)}
    names["mid_block.attentions.0."] = "middle_block.1."
    return names


def unet(state: State, layers: int, prefix: str, levels: int = 4, plain: int | None = 0) -> State:
    names, result = unet_names(layers, levels, plain), {}
    for name, tensor in state.items():
        for ours, theirs in names.items():
            if name.startswith(ours):
                rest = name.removeprefix(ours)
                if ".resnets." in ours:
                    part, _, kind = rest.rpartition(".")
                    rest = f"{RESNET[part]}.{kind}"
                result[prefix + theirs + rest] = tensor
                break
        else:
            part, _, kind = name.rpartition(".")
            result[f"{prefix}{ENDS[part]}.{kind}"] = tensor
    return result


def controlnet(state: State, layers: int, prefix: str) -> State:
    rest, result = {}, {}
    for name, tensor in state.items():
        part, _, kind = name.rpartition(".")
        number = part.rpartition(".")[2]
        if name.startswith("controlnet_down_blocks."):
            result[f"{prefix}zero_convs.{number}.0.{kind}"] = tensor
        elif name.startswith("controlnet_mid_block."):
            result[f"{prefix}middle_block_out.0.{kind}"] = tensor
        elif name.startswith("controlnet_cond_embedding."):
            position = {"conv_in": 0, "conv_out": 14}.get(number)
            position = 2 * (int(number) + 1) if position is None else position
            result[f"{prefix}input_hint_block.{position}.{kind}"] = tensor
        else:
            rest[name] = tensor
    return result | unet(rest, layers, prefix)


def vae(state: State, prefix: str = "first_stage_model.") -> State:
    return {prefix + _vae_name(name): _vae_tensor(name, tensor) for name, tensor in state.items()}


def _vae_name(name: str) -> str:
    side, _, rest = name.partition(".")
    if side not in ("encoder", "decoder"):
        return name
    parts = rest.split(".")
    if parts[0] in ("down_blocks", "up_blocks"):
        level = parts[1] if side == "encoder" else str(3 - int(parts[1]))
        direction = "down" if side == "encoder" else "up"
        if parts[2] == "resnets":
            rest = ".".join([direction, level, "block", parts[3], *parts[4:]])
        else:
            rest = ".".join([direction, level, f"{direction}sample", *parts[4:]])
    elif rest.startswith("mid_block.resnets."):
        rest = ".".join(["mid", f"block_{int(parts[2]) + 1}", *parts[3:]])
    elif rest.startswith("mid_block.attentions."):
        kind = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}[parts[3]]
        rest = f"mid.attn_1.{kind}.{parts[-1]}"
    return f"{side}.{rest.replace('conv_norm_out', 'norm_out').replace('conv_shortcut', 'nin_shortcut')}"


def _vae_tensor(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The original's attention is made of 1 x 1 convolutions."""
    return tensor[..., None, None].contiguous() if ".attentions." in name and tensor.ndim == 2 else tensor


def text_encoder(state: State, prefix: str = "cond_stage_model.transformer.text_model.") -> State:
    result = {prefix + name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    result[f"{prefix}embeddings.position_ids"] = torch.arange(77)[None]
    return result


OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
OPEN_CLIP_ENDS = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}


def open_clip(state: State, prefix: str = "conditioner.embedders.1.model.") -> State:
    """A CLIP text encoder with projection as OpenCLIP has it."""
    result = {prefix + theirs: state[ours] for ours, theirs in OPEN_CLIP_ENDS.items()}
    result[f"{prefix}text_projection"] = state["text_projection.weight"].T.contiguous()
    layers = "text_model.encoder.layers."
    for name, tensor in state.items():
        if not name.startswith(layers):
            continue
        number, _, rest = name.removeprefix(layers).partition(".")
        part, _, kind = rest.rpartition(".")
        block = f"{prefix}transformer.resblocks.{number}."
        if part == "self_attn.q_proj":
            parts = [state[f"{layers}{number}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            result[f"{block}attn.in_proj_{kind}"] = torch.cat(parts)
        elif part in OPEN_CLIP:
            result[f"{block}{OPEN_CLIP[part]}.{kind}"] = tensor
    return result
