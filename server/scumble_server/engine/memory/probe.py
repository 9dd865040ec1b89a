"""What memory the device has, asked once, before anything is loaded."""

from __future__ import annotations

import importlib.util

import psutil
import torch

from ...memory.machine import CPU, CUDA, MPS, Machine
from ..device import Device

__all__ = ["probe", "quantizers"]

PACKAGES = ("torchao", "bitsandbytes")


def probe(device: Device) -> Machine:
    """Free is what other programs leave, and what was loaded here before."""
    ram = psutil.virtual_memory()
    kind = device.torch_device.type
    if kind == CUDA:
        free, total = torch.cuda.mem_get_info(device.torch_device)
        return Machine(CUDA, int(total), int(free), int(ram.total), int(ram.available), quantizers())
    if kind == MPS:
        return Machine(MPS, int(ram.total), int(ram.available), int(ram.total), int(ram.available), quantizers())
    return Machine(CPU, int(ram.total), int(ram.available), int(ram.total), int(ram.available), quantizers())


def quantizers() -> frozenset[str]:
    """Packages for quantizing that are installed."""
    return frozenset(name for name in PACKAGES if importlib.util.find_spec(name) is not None)
