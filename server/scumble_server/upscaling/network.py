"""Upscaling networks of any architecture that ``spandrel`` knows, from .safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from torch import Tensor

from .halo import Network

__all__ = ["load_network"]

MOST_REACH = 64
"""Deep networks could look farther than this, and hardly do; those with attention look as far as they are let."""


def load_network(path: Path, name: str, device: torch.device) -> Network:
    """Raises ScumbleError UNSUPPORTED where spandrel isn't installed, MODEL_INVALID for files that don't fit."""
    spandrel = _spandrel()
    try:
        found = spandrel.ModelLoader().load_from_state_dict(_without_prefix(load_file(path)))
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, _unsupported(spandrel)) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _invalid(f"{name} can't be loaded: {said}") from error
    if found.purpose != "SR" or found.scale < 2 or (found.input_channels, found.output_channels) != (3, 3):
        raise _invalid(f"{name} doesn't enlarge colour pictures")
    found.model.requires_grad_(False)
    found.to(device).eval()
    if device.type == "cuda" and found.supports_half:
        found.half()

    def run(image: Tensor) -> Tensor:
        made: Tensor = found(image.to(found.dtype)).float()
        return made

    multiple = max(1, found.size_requirements.multiple_of)
    return Network(run, found.scale, min(_reach(found.model) * multiple, MOST_REACH), multiple)


def _reach(model: torch.nn.Module) -> int:
    """Pixels, at most, of convolutions one after the other; behind an upsampling they look less far than is counted."""
    reach = 0
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            reach += max((side - 1) // 2 * step for side, step in zip(part.kernel_size, part.dilation, strict=True))
        elif isinstance(part, torch.nn.Linear | torch.nn.MultiheadAttention):
            return MOST_REACH
    return reach


def _without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("module.", "netG.", "params_ema.", "params."):
        if weights and all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _spandrel() -> Any:
    try:
        import spandrel
    except ImportError as error:
        raise _missing("isn't installed") from error
    except RuntimeError as error:  # torchvision, which it needs, was built for another torch
        raise _missing(f"doesn't work here: {str(error).splitlines()[0][:200]}") from error
    return spandrel


def _unsupported(spandrel: Any) -> type[Exception]:
    unsupported: type[Exception] = spandrel.UnsupportedModelError
    return unsupported


def _missing(what: str) -> ScumbleError:
    return ScumbleError(
        ErrorCode.UNSUPPORTED,
        f"upscaling networks need the package spandrel, which {what}",
        field="job.upscaler",
        remedy=Remedy('Install it where the server is: pip install "scumble[upscale]"'),
    )


def _invalid(message: str) -> ScumbleError:
    return ScumbleError(
        ErrorCode.MODEL_INVALID, message, field="job.upscaler", remedy=Remedy("Choose another way to enlarge")
    )
