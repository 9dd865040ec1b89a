"""Weights that take less room than they were loaded in, by diffusers' own means.

None of this is undone: a model that is wanted otherwise is loaded anew, so that nothing of it is left.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import BitsAndBytesConfig, TorchAoConfig
from diffusers.quantizers import DiffusersAutoQuantizer
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

__all__ = ["QUANTIZING", "check_quantizer", "store"]

QUANTIZING = "job.memory"
"""Field of the error that says that weights can't be quantized."""

PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}
EXTRAS = {"int8": "quantize", "nf4": "nf4"}


def store(module: Any, storage: str, device: torch.device) -> None:
    """module: of diffusers, in the computer's memory, in the format it computes in. storage: "fp8" keeps the weights of
    its layers in eight-bit floats and casts each for the moment it works; "int8" and "nf4" quantize what multiplies
    matrices, and move it to ``device``.

    Raises ScumbleError UNSUPPORTED where there is nothing to do it with.
    """
    if storage == "fp8":
        module.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=module.dtype)
    elif storage in PACKAGES:
        _quantize(module, storage, device)


def check_quantizer(storage: str, device: torch.device) -> None:
    """Raises ScumbleError UNSUPPORTED as :func:`store` would."""
    if storage in PACKAGES:
        _quantizer(storage, torch.float32, device)


def _quantizer(storage: str, dtype: torch.dtype, device: torch.device) -> Any:
    package = PACKAGES[storage]
    try:
        if storage == "int8":
            from torchao.quantization import Int8WeightOnlyConfig

            config = TorchAoConfig(Int8WeightOnlyConfig(version=2))
        else:
            config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        quantizer = DiffusersAutoQuantizer.from_config(config, pre_quantized=False)
        quantizer.validate_environment(device_map=None)
    except (ImportError, RuntimeError) as error:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"weights can't be quantized by {package} on {device.type} here: {str(error).splitlines()[0][:200]}",
            field=QUANTIZING,
            remedy=Remedy(f'Install it where the server is: pip install "scumble[{EXTRAS[storage]}]"'),
        ) from error
    return quantizer


@torch.no_grad()
def _quantize(module: Any, storage: str, device: torch.device) -> None:
    """What diffusers does when it loads a model, done to one that is loaded: so its weights may come from any file, and
    carry LoRAs."""
    quantizer = _quantizer(storage, module.dtype, device)
    state = {name: parameter.data for name, parameter in module.named_parameters()}
    quantizer.preprocess_model(model=module, device_map=None, keep_in_fp32_modules=[])
    for name in list(state):
        value = state.pop(name)
        if quantizer.check_if_quantized_param(module, value, name, state, param_device=device):
            quantizer.create_quantized_param(module, value, name, device, state, [])
        else:
            _put(module, name, value.to(device))
    quantizer.postprocess_model(module)
    module.requires_grad_(False)


def _put(module: Any, name: str, value: torch.Tensor) -> None:
    owner, _, own = name.rpartition(".")
    module.get_submodule(owner)._parameters[own] = torch.nn.Parameter(value, requires_grad=False)
