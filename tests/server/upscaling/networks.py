"""Small upscaling networks by spandrel's own classes, with random weights, saved as people share them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision_names import importable

pytest.importorskip("einops")

with importable():
    spandrel = pytest.importorskip("spandrel")


def write_compact(path: Path, scale: int = 2) -> Path:
    from spandrel.architectures.Compact import Compact

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _write(Compact(num_feat=8, num_conv=2, upscale=scale), path)


def write_esrgan(path: Path, scale: int = 4, prefix: str = "") -> Path:
    from spandrel.architectures.ESRGAN import ESRGAN

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return _write(ESRGAN(num_filters=8, num_blocks=1, scale=scale), path, prefix)


def _write(net: torch.nn.Module, path: Path, prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return path
