"""The device that would do the work, and the memory and disk around it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
from scumble_shared.errors import ScumbleError
from scumble_shared.runtime import data_dir

from .finding import Finding, Level

__all__ = ["device_findings", "disk_finding", "memory_finding"]

GIB = 1024**3
RAM_WANTED, DISK_WANTED, VRAM_WANTED = 8 * GIB, 5 * GIB, 4 * GIB
"""SD 1.5 at 512 x 512 with two ControlNets in half precision takes about 4 GiB of video memory."""


def device_findings(name: str = "auto") -> list[Finding]:
    """Loads torch, which takes seconds, and has the device add two numbers."""
    try:
        import torch

        from ..engine.device import resolve_device
    except (ImportError, OSError) as error:
        remedy = "Install torch anew, together with torchvision, from https://pytorch.org/get-started/locally"
        return [Finding("device", Level.PROBLEM, f"torch can't be loaded: {error}", remedy)]
    try:
        device = resolve_device(name)
        _compute(torch, device.torch_device)
    except ScumbleError as error:
        return [Finding("device", Level.PROBLEM, error.info.message, "Choose another --device")]
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        remedy = "Update the graphics driver, or install the torch build for this device; --device cpu works meanwhile"
        return [Finding("device", Level.PROBLEM, f"the device is there but doesn't compute: {first}", remedy)]
    kind = _kind(torch, device.torch_device.type)
    text = f"{device.label}, {kind}, {str(device.dtype).removeprefix('torch.')}, torch {torch.__version__}"
    findings = [Finding("device", Level.OK, text)]
    if kind == "cpu":
        findings.append(_why_no_gpu(torch))
    elif kind in ("cuda", "rocm"):
        findings.append(_vram(torch, device.torch_device))
    return findings


def _compute(torch: Any, device: Any) -> None:
    one = torch.ones(8, device=device)
    if float((one + one).sum().cpu()) != 16.0:
        raise RuntimeError("one and one isn't two there")


def _kind(torch: Any, device_type: str) -> str:
    """cuda, rocm, mps or cpu; AMD's devices are called cuda in torch."""
    return "rocm" if device_type == "cuda" and torch.version.hip else device_type


def _why_no_gpu(torch: Any) -> Finding:
    if shutil.which("nvidia-smi") and not torch.version.cuda:
        remedy = "Install the CUDA build of torch: https://pytorch.org/get-started/locally"
        return Finding("device", Level.WARNING, "there is an NVIDIA driver, but this torch has no CUDA", remedy)
    if shutil.which("rocm-smi") and not torch.version.hip:
        remedy = "Install the ROCm build of torch: https://pytorch.org/get-started/locally"
        return Finding("device", Level.WARNING, "there is an AMD driver, but this torch has no ROCm", remedy)
    if shutil.which("nvidia-smi"):
        remedy = "Update the NVIDIA driver; `nvidia-smi` tells its version and which CUDA it knows"
        return Finding("device", Level.WARNING, "there is an NVIDIA driver, but torch can't use it", remedy)
    text = "no graphics device for torch: the built-in model is quick enough on a CPU, full-size ones take minutes"
    return Finding("device", Level.NOTE, text)


def _vram(torch: Any, device: Any) -> Finding:
    free, total = torch.cuda.mem_get_info(device)
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB video memory free"
    if free < VRAM_WANTED:
        remedy = "Close other programs that use the device, or generate at a smaller size"
        return Finding("memory", Level.WARNING, text, remedy)
    return Finding("memory", Level.OK, text)


def memory_finding() -> Finding:
    memory = psutil.virtual_memory()
    text = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB RAM free"
    if memory.available < RAM_WANTED:
        return Finding("memory", Level.WARNING, text, "Close other programs before you load a full-size model")
    return Finding("memory", Level.OK, text)


def disk_finding(folder: Path | None = None, wanted: int = DISK_WANTED) -> Finding:
    """Room where models and records are kept, by default :func:`scumble_shared.runtime.data_dir`."""
    place = data_dir() if folder is None else folder
    existing = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / GIB:.1f} GiB free at {place}"
    if free < wanted:
        return Finding("disk", Level.WARNING, text, "Make room before you add models; each takes 2 to 7 GiB")
    return Finding("disk", Level.OK, text)
