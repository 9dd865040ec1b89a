"""A LoRA's file as what it adds to each layer, whatever the format: low rank, Hadamard or Kronecker products, with the
length of rows or columns told apart from their direction where it is a DoRA."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, ScumbleError
from torch import Tensor

from .names import Targets

__all__ = ["Layer", "read_layers"]

SUFFIXES = {
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "lora_mid.weight": "mid",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A.default.weight": "down",
    "lora_B.default.weight": "up",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up",
    "down.weight": "down",
    "up.weight": "up",
    "alpha": "alpha",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    "dora_scale": "dora_scale",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_magnitude_vector.default.weight": "magnitude",
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}
"""End of a tensor's name -> what it is of its layer; longer ones are looked for first."""

UNKNOWN = {
    "lora_bias": "it changes biases, which this version can't do",
}

OLDER = (
    (re.compile(r"\.processor\.to_(q|k|v)_lora$"), r".to_\1"),
    (re.compile(r"\.processor\.to_out_lora$"), ".to_out.0"),
    (re.compile(r"\.self_attn\.to_(q|k|v)_lora$"), r".self_attn.\1_proj"),
    (re.compile(r"\.self_attn\.to_out_lora$"), ".self_attn.out_proj"),
    (re.compile(r"^base_model\.model\."), "transformer."),
)
"""Names of older versions -> of today's."""


@dataclass(frozen=True, slots=True)
class Layer:
    """weights: that share the rows of what is added. parts: tensors of the file by what they are."""

    weights: Sequence[Tensor]
    parts: Mapping[str, Tensor]

    def added(self, before: Sequence[Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        """To each weight, float32 of its shape. Raises ValueError, KeyError or RuntimeError if it doesn't fit.

        before: what the weights were without any LoRA, if they aren't that now; a DoRA goes by it.
        """
        device = self.weights[0].device
        parts = {name: tensor.to(device, torch.float32) for name, tensor in self.parts.items()}
        whole = _product(parts)
        if whole.numel() != sum(weight.numel() for weight in self.weights):
            raise ValueError("it was made for a model of another size")
        rows = [len(weight) for weight in self.weights]
        whole = whole.reshape(sum(rows), *self.weights[0].shape[1:])
        if "dora_scale" in parts or "magnitude" in parts:
            base = torch.cat([weight.to(device, torch.float32) for weight in before or self.weights])
            whole = _of_lengths(base + whole, parts) - base
        split = torch.split(whole, rows)
        return [(weight, part.reshape(weight.shape)) for weight, part in zip(self.weights, split, strict=True)]

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """Rank x columns and rows x rank, float32, whose product is what is added to weights of two dimensions.

        Raises ValueError for what can't be told in that way.
        """
        if self.parts.keys() - {"down", "up", "alpha"} or self.parts.keys() < {"down", "up"}:
            raise ValueError("beside weights that are quantized in their file only plain LoRAs can be used")
        down, up = self.parts["down"].float().flatten(1), self.parts["up"].float().flatten(1)
        return down, up * _scale(self.parts, len(down))


def read_layers(path: Path, name: str, targets: Targets) -> list[Layer]:
    """Every layer of the file. name: of the LoRA, for people.

    Raises ScumbleError MODEL_INVALID for files that can't be read or have tensors that nobody knows, MODEL_MISMATCH for
    layers the model doesn't have.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ScumbleError(ErrorCode.MODEL_INVALID, f"{name} can't be read: {error}") from error
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, kind = _taken_apart(key, name)
        grouped.setdefault(layer, {})[kind] = tensor
    strangers = [layer for layer in grouped if layer not in targets]
    if strangers:
        raise ScumbleError(
            ErrorCode.MODEL_MISMATCH,
            f"{name} doesn't fit: it changes {strangers[0]}, which the model doesn't have"
            + (f", and {len(strangers) - 1} more" if len(strangers) > 1 else ""),
        )
    return [Layer(targets[layer], parts) for layer, parts in grouped.items()]


def _taken_apart(key: str, name: str) -> tuple[str, str]:
    """Layer of the model, and which of its tensors it is."""
    for mark, reason in UNKNOWN.items():
        if key.endswith((mark, f"{mark}.weight")):
            raise ScumbleError(ErrorCode.MODEL_INVALID, f"{name} can't be used: {reason}")
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if key.endswith(f".{suffix}"):
            return _today(key[: -len(suffix) - 1]), SUFFIXES[suffix]
    raise ScumbleError(ErrorCode.MODEL_INVALID, f"{name} can't be used: nobody knows what its {key[:120]} is")


def _today(layer: str) -> str:
    for older, newer in OLDER:
        layer = older.sub(newer, layer)
    return layer


# --- products -----------------------------------------------------------------------------------------


def _product(parts: Mapping[str, Tensor]) -> Tensor:
    """Rows x the rest, scaled. Raises KeyError if a tensor is missing."""
    if "down" in parts:
        return _low_rank(parts) * _scale(parts, len(parts["down"]))
    if "hada_w1_a" in parts:
        return _hadamard(parts) * _scale(parts, parts["hada_w1_b"].shape[0])
    return _kronecker(parts)


def _of_lengths(changed: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """Weight-decomposed adaptation (DoRA, ICML 2024): directions of ``changed``, lengths of the file.

    Those of peft are of the rows, what one output is made of. LyCORIS has either these or those of the columns, all
    that one input does. Raises ValueError if they are of neither.
    """
    lengths = parts.get("dora_scale", parts.get("magnitude"))
    assert lengths is not None, "only a DoRA has lengths"
    rows, columns = changed.shape[:2]
    of_rows = "magnitude" in parts or lengths.shape[0] == rows
    if lengths.numel() != (rows if of_rows else columns):
        raise ValueError("its lengths were made for a model of another size")
    kept = 0 if of_rows else 1
    others = [dimension for dimension in range(changed.ndim) if dimension != kept]
    shape = [-1 if dimension == kept else 1 for dimension in range(changed.ndim)]
    norm = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
    scales: Tensor = lengths.reshape(shape) / norm.clamp_min(torch.finfo(torch.float32).tiny)
    return changed * scales


def _scale(parts: Mapping[str, Tensor], rank: int) -> float:
    return float(parts["alpha"]) / rank if "alpha" in parts else 1.0


def _low_rank(parts: Mapping[str, Tensor]) -> Tensor:
    up, down = parts["up"].flatten(1), parts["down"]
    if "mid" in parts:
        return torch.einsum("or,rskl,si->oikl", up, parts["mid"], down.flatten(1))
    return (up @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def _hadamard(parts: Mapping[str, Tensor]) -> Tensor:
    first, second = (_with_core(parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"], parts.get(f"hada_t{n}")) for n in (1, 2))
    return first * second


def _with_core(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    return a @ b if core is None else torch.einsum("ijkl,jr,ip->prkl", core, b, a)


def _kronecker(parts: Mapping[str, Tensor]) -> Tensor:
    """Where a factor is itself a product, its rank scales the whole; of two full factors nothing does."""
    rank = None
    factors = []
    for n in (1, 2):
        if f"lokr_w{n}" in parts:
            factors.append(parts[f"lokr_w{n}"])
            continue
        a, b = parts[f"lokr_w{n}_a"], parts[f"lokr_w{n}_b"]
        rank = b.shape[0]
        factors.append(_with_core(a, b, parts.get("lokr_t2") if n == 2 else None))
    first, second = factors
    if second.ndim == 4:
        first = first[..., None, None]
    product = torch.kron(first.contiguous(), second.contiguous())
    return product if rank is None else product * _scale(parts, rank)
