"""Transformers whose weights are quantized in their file (GGUF): diffusers unpacks each layer while it works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights

__all__ = ["is_packed", "packed_from_state", "read_packed", "sides_of"]


def read_packed(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .gguf file. Raises ImportError without gguf, ValueError for what can't be unpacked."""
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    tensors: dict[str, torch.Tensor] = load_gguf_checkpoint(str(path))
    return tensors


def is_packed(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "quant_type")


def sides_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Its shape once it is unpacked."""
    return tuple(getattr(tensor, "quant_shape", tensor.shape))


def packed_from_state(
    kind: Any, config: Mapping[str, object], state: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> Any:
    """A component of diffusers from tensors under its own names, some of them packed. Raises RuntimeError or ValueError
    if they don't fit."""
    from diffusers import GGUFQuantizationConfig
    from diffusers.quantizers import DiffusersAutoQuantizer
    from diffusers.quantizers.gguf.utils import GGUFLinear, dequantize_gguf_tensor

    with init_empty_weights():
        module = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    quantizer = DiffusersAutoQuantizer.from_config(GGUFQuantizationConfig(compute_dtype=dtype), pre_quantized=True)
    quantizer.validate_environment()
    quantizer.preprocess_model(model=module, device_map=None, state_dict=dict(state), keep_in_fp32_modules=[])
    wanted = module.state_dict()
    if differing := sorted(wanted.keys() ^ state.keys()):
        raise RuntimeError(f"it lacks or has too many layers: {differing[0]} and {len(differing) - 1} more")
    for name, tensor in state.items():
        owner, _, own = name.rpartition(".")
        layer = module.get_submodule(owner)
        if sides_of(tensor) != tuple(wanted[name].shape):
            raise RuntimeError(f"{name} has the sides {sides_of(tensor)}, not {tuple(wanted[name].shape)}")
        if is_packed(tensor) and not (isinstance(layer, GGUFLinear) and own == "weight"):
            tensor = dequantize_gguf_tensor(tensor)
        if not is_packed(tensor):
            tensor = torch.nn.Parameter(tensor.to(dtype), requires_grad=False)
        place = layer._parameters if own in layer._parameters else layer._buffers
        place[own] = tensor if own in layer._parameters else tensor.data
    return quantizer.postprocess_model(module)
