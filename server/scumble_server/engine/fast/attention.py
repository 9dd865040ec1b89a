"""Queries, keys and values by one multiplication instead of three: fewer and larger ones keep a GPU busier."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

__all__ = ["fuse_projections"]


def fuse_projections(module: nn.Module) -> int:
    """Have every plain attention in a UNet or ControlNet use it; how many there were.

    The weights of the projections become parts of one tensor: what is written into them later, by a LoRA say, is seen
    by both. Where one is exchanged instead, for other weights or by another layer, that attention goes its usual way.
    """
    fused = 0
    for attention in module.modules():
        if type(attention).__name__ == "Attention" and _is_plain(attention):
            attention.set_processor(_Fused(attention))  # type: ignore[operator]
            fused += 1
    return fused


def _is_plain(attention: Any) -> bool:
    projections = (attention.to_q, attention.to_k, attention.to_v)
    return (
        isinstance(attention.processor, AttnProcessor2_0)
        and all(type(layer) is nn.Linear and layer.bias is None for layer in projections)
        and not any((attention.spatial_norm, attention.group_norm, attention.norm_q, attention.norm_k))
        and not attention.residual_connection
        and attention.norm_cross is None
        and attention.rescale_output_factor == 1.0
    )


class _Fused(AttnProcessor2_0):  # type: ignore[misc]
    """of one attention. Its own text or pictures are asked of all three projections, others' of two."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        layers = [attention.to_q, attention.to_k, attention.to_v]
        own = attention.to_q.in_features == attention.to_k.in_features and not attention.is_cross_attention
        self._layers = layers if own else layers[1:]
        self._weight = torch.cat([layer.weight.data for layer in self._layers])
        row = 0
        for layer in self._layers:
            layer.weight.data = self._weight[row : row + layer.out_features]
            row += layer.out_features
        self._first = self._layers[0].weight.data_ptr()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        others = len(self._layers) == 2
        if attention_mask is not None or others == (encoder_hidden_states is None) or not self._is_fused(attn):
            plain: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return plain
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        found = F.linear(source, self._weight).chunk(len(self._layers), dim=-1)
        query, key, value = found if len(found) == 3 else (attn.to_q(hidden_states), *found)
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](seen))  # type: ignore[no-any-return]

    def _is_fused(self, attn: Any) -> bool:
        if torch.compiler.is_compiling():
            return True  # what is compiled goes by where the weights lie (:attr:`.joint.Joint.key`)
        now = [attn.to_q, attn.to_k, attn.to_v][-len(self._layers) :]
        return all(layer is own for layer, own in zip(now, self._layers, strict=True)) and (
            now[0].weight.data_ptr() == self._first
        )
