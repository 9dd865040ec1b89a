"""Which device does the work, and in which number format: the one place where that is decided."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["Device", "resolve_device"]


@dataclass(frozen=True, slots=True)
class Device:
    """torch_device: where tensors live. dtype: of text encoder, UNet and ControlNets. label: for people."""

    torch_device: torch.device
    dtype: torch.dtype
    label: str

    @property
    def wide_dtype(self) -> torch.dtype:
        """Of models whose values are too large for half precision, SD 3 and FLUX: bfloat16 in its place."""
        return torch.bfloat16 if self.dtype == torch.float16 else self.dtype

    @property
    def vae_dtype(self) -> torch.dtype:
        """Of the autoencoder: bfloat16's eight bits would show as bands in smooth skies."""
        return torch.float32 if self.dtype == torch.bfloat16 else self.dtype

    @property
    def is_gpu(self) -> bool:
        return self.torch_device.type != "cpu"


def resolve_device(name: str = "auto") -> Device:
    """name: "auto" (the best there is), "cuda" (AMD's ROCm too), "cuda:1", "mps" or "cpu".

    Raises ScumbleError UNSUPPORTED if it isn't there.
    """
    kind = name.split(":")[0]
    if kind == "auto":
        kind = name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda" and torch.cuda.is_available():
        device = torch.device(name)
        if (device.index or 0) < torch.cuda.device_count():
            return Device(device, torch.float16, torch.cuda.get_device_name(device))
    if kind == "mps" and torch.backends.mps.is_available():
        return Device(torch.device("mps"), torch.float16, "Apple GPU")
    if kind == "cpu":
        # With matrix units bfloat16 took 0.4 of float32's time for a UNet; without them it is slower than float32.
        dtype = torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32
        return Device(torch.device("cpu"), dtype, f"CPU ({platform.processor() or platform.machine()})")
    raise ScumbleError(ErrorCode.UNSUPPORTED, f"this machine has no device {name!r}; use auto, cuda, mps or cpu")
