"""How trainers call the layers of a model: every name that a LoRA's file may have for one -> the layer.

A layer of the file may stand for several of ours whose outputs lie one beside the other, as in fused q, k and v.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Conv2d, Linear

from ..families.flux_names import DOUBLE, ENDS, SINGLE, TOGETHER

__all__ = ["Targets", "targets_of"]

Targets = Mapping[str, Sequence[Tensor]]
"""Name in a file -> weights of the layers it is for, in the order of their rows."""

Layers = Mapping[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
"""diffusers -> the original code of SD and SDXL."""

SD3_BLOCK = {
    "x_block.attn.proj": "attn.to_out.0",
    "context_block.attn.proj": "attn.to_add_out",
    "x_block.attn2.proj": "attn2.to_out.0",
    "x_block.adaLN_modulation.1": "norm1.linear",
    "context_block.adaLN_modulation.1": "norm1_context.linear",
    "x_block.mlp.fc1": "ff.net.0.proj",
    "x_block.mlp.fc2": "ff.net.2",
    "context_block.mlp.fc1": "ff_context.net.0.proj",
    "context_block.mlp.fc2": "ff_context.net.2",
}
SD3_TOGETHER = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
}
"""The original code of SD 3 -> diffusers."""

XLABS = {
    "processor.qkv_lora1": "img_attn.qkv",
    "processor.proj_lora1": "img_attn.proj",
    "processor.qkv_lora2": "txt_attn.qkv",
    "processor.proj_lora2": "txt_attn.proj",
}
TEXT_PREFIXES = {
    "text_encoder": ("lora_te_", "lora_te1_"),
    "text_encoder_2": ("lora_te2_",),
    "text_encoder_3": ("lora_te3_",),
}


def targets_of(components: Mapping[str, Any]) -> Targets:
    """components: "unet" or "transformer", "text_encoder", "text_encoder_2" ... -> module."""
    found: dict[str, Sequence[Tensor]] = {}
    for component, root in components.items():
        layers = {name: part.weight for name, part in root.named_modules() if isinstance(part, Linear | Conv2d)}
        if component == "unet":
            found.update(_unet(layers, int(_first(root.config.layers_per_block))))
        elif component == "transformer":
            found.update(_transformer(layers))
        else:
            found.update(_text_encoder(component, layers))
    return found


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def _plain(prefix: str, layers: Layers) -> Iterator[tuple[str, list[Tensor]]]:
    """With dots, as diffusers and peft name them, and with underscores, as kohya's scripts do."""
    for name, weight in layers.items():
        yield f"{prefix}.{name}", [weight]
        yield f"lora_unet_{name.replace('.', '_')}", [weight]
        yield f"lora_{prefix}_{name.replace('.', '_')}", [weight]


# --- UNets --------------------------------------------------------------------------------------------


def _unet(layers: Layers, each: int) -> Iterator[tuple[str, list[Tensor]]]:
    yield from _plain("unet", layers)
    for name, weight in layers.items():
        original = _original(name, each, layers)
        if original is not None:
            yield f"lora_unet_{original.replace('.', '_')}", [weight]
            yield f"diffusion_model.{original}", [weight]


def _original(name: str, each: int, layers: Layers) -> str | None:
    """each: resnets per level on the way down; one more on the way up."""
    if name in UNET_ENDS:
        return UNET_ENDS[name]
    side, _, rest = name.partition(".")
    if side == "mid_block":
        kind, number, inner = rest.split(".", 2)
        place = "1" if kind == "attentions" else str(2 * int(number))
        return f"middle_block.{place}.{_inner(kind, inner)}"
    if side not in ("down_blocks", "up_blocks"):
        return None
    level, kind, number, inner = rest.split(".", 3)
    first = (each + 1) * int(level)
    if kind in ("resnets", "attentions"):
        place = "1" if kind == "attentions" else "0"
        way, block = ("input", first + int(number) + 1) if side == "down_blocks" else ("output", first + int(number))
        return f"{way}_blocks.{block}.{place}.{_inner(kind, inner)}"
    if kind == "downsamplers":
        return f"input_blocks.{first + each + 1}.0.op"
    attends = any(other.startswith(f"up_blocks.{level}.attentions.") for other in layers)
    return f"output_blocks.{first + each}.{2 if attends else 1}.conv"


def _inner(kind: str, inner: str) -> str:
    return RESNET[inner] if kind == "resnets" else inner


# --- transformers -------------------------------------------------------------------------------------


def _transformer(layers: Layers) -> Iterator[tuple[str, list[Tensor]]]:
    yield from _plain("transformer", layers)
    is_flux = any(name.startswith("single_transformer_blocks.") for name in layers)
    for original, weights in _flux(layers) if is_flux else _sd3(layers):
        yield f"lora_unet_{original.replace('.', '_')}", weights
        yield f"diffusion_model.{original}", weights
        yield original, weights


def _flux(layers: Layers) -> Iterator[tuple[str, list[Tensor]]]:
    for original, name in ENDS.items():
        if name in layers and original != "final_layer.adaLN_modulation.1":  # its halves are swapped
            yield original, [layers[name]]
    kinds = (("transformer_blocks", "double_blocks", DOUBLE), ("single_transformer_blocks", "single_blocks", SINGLE))
    for ours, theirs, table in kinds:
        for number in _numbers(layers, ours):
            block, original = f"{ours}.{number}", f"{theirs}.{number}"
            yield from _named(layers, block, original, table)
            yield from _fused(layers, block, original, TOGETHER)
            for name, whole in XLABS.items():
                parts = TOGETHER.get(whole) or (DOUBLE[whole],)
                if all(f"{block}.{part}" in layers for part in parts):
                    yield f"{original}.{name}", [layers[f"{block}.{part}"] for part in parts]


def _sd3(layers: Layers) -> Iterator[tuple[str, list[Tensor]]]:
    for number in _numbers(layers, "transformer_blocks"):
        block, original = f"transformer_blocks.{number}", f"joint_blocks.{number}"
        yield from _named(layers, block, original, SD3_BLOCK)
        yield from _fused(layers, block, original, SD3_TOGETHER)


def _numbers(layers: Layers, blocks: str) -> list[int]:
    return sorted({int(name.split(".")[1]) for name in layers if name.startswith(f"{blocks}.")})


def _named(layers: Layers, block: str, original: str, table: Mapping[str, str]) -> Iterator[tuple[str, list[Tensor]]]:
    for theirs, ours in table.items():
        if f"{block}.{ours}" in layers:
            yield f"{original}.{theirs}", [layers[f"{block}.{ours}"]]


def _fused(
    layers: Layers, block: str, original: str, table: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, list[Tensor]]]:
    for theirs, parts in table.items():
        if all(f"{block}.{part}" in layers for part in parts):
            yield f"{original}.{theirs}", [layers[f"{block}.{part}"] for part in parts]


# --- text encoders ------------------------------------------------------------------------------------


def _text_encoder(component: str, layers: Layers) -> Iterator[tuple[str, list[Tensor]]]:
    """CLIP's wrapper, "text_model", is in files whether the class at hand has it or not."""
    for name, weight in layers.items():
        wrapped = name if component == "text_encoder_3" or name == "text_projection" else f"text_model.{name}"
        for full in {name, wrapped.replace("text_model.text_model.", "text_model.")}:
            yield f"{component}.{full}", [weight]
            for prefix in TEXT_PREFIXES.get(component, ()):
                yield f"{prefix}{full.replace('.', '_')}", [weight]
