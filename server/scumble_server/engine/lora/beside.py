"""LoRAs of layers whose weights are packed: what they add is computed beside the layer, and its weights stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..families.packed import is_packed, sides_of
from .reading import Layer

__all__ = ["add_beside", "packed_layers"]


def packed_layers(components: Mapping[str, Any]) -> dict[int, nn.Linear]:
    """Identity of each packed weight -> the layer that has it."""
    return {
        id(part.weight): part
        for root in components.values()
        for part in root.modules()
        if isinstance(part, nn.Linear) and is_packed(part.weight)
    }


def add_beside(layer: Layer, strength: float, owners: Mapping[int, nn.Linear]) -> Iterator[RemovableHandle]:
    """Until the handles are removed. owners: as :func:`packed_layers` finds them.

    Raises ValueError if it doesn't fit, or isn't a plain product of low rank.
    """
    down, up = layer.low_rank()
    rows = [sides_of(weight)[0] for weight in layer.weights]
    if len(up) != sum(rows) or any(sides_of(weight)[1] != down.shape[1] for weight in layer.weights):
        raise ValueError("it was made for a model of another size")
    for weight, part in zip(layer.weights, torch.split(up * strength, rows), strict=True):
        yield owners[id(weight)].register_forward_hook(_Beside(down, part))


class _Beside:
    """Lies where the layer's inputs do, from the first time it is used."""

    def __init__(self, down: Tensor, up: Tensor) -> None:
        """down: rank x inputs. up: outputs x rank."""
        self._down, self._up = down, up

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (shown,) = inputs
        self._down, self._up = (part.to(output.device, output.dtype) for part in (self._down, self._up))
        return output + shown.to(output.dtype) @ self._down.T @ self._up.T
