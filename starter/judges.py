"""Judges of generated pictures, trained on real renders only: which material, and which way surfaces face."""

from __future__ import annotations

import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from data import make
from materials import MATERIALS
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

__all__ = ["JUDGE_SIZE", "MaterialJudge", "NormalJudge", "trained_judges"]

JUDGE_SIZE = 128
NAMES = [material.name for material in MATERIALS]


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU(),
    )  # fmt: skip


class MaterialJudge(nn.Module):
    """Pictures N x 3 x 128 x 128 in [0, 1] -> scores N x materials."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 32, 2), _block(32, 64, 2), _block(64, 128, 2), _block(128, 192, 2))
        self.head = nn.Linear(384, len(NAMES))

    def forward(self, image: Tensor) -> Tensor:
        x = self.body((image - 0.45) * 4)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=-1))


class NormalJudge(nn.Module):
    """Pictures N x 3 x 128 x 128 in [0, 1] -> unit normals N x 3 x 32 x 32, view space."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, 32, 2), _block(32, 64, 2), _block(64, 128, 2), _block(128, 192, 2)])
        self.up = nn.ModuleList([_block(192 + 128, 128, 1), _block(128 + 64, 64, 1)])
        self.head = nn.Conv2d(64, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, kept = (image - 0.45) * 4, []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        for layer, skip in zip(self.up, (kept[2], kept[1]), strict=True):
            x = layer(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        return F.normalize(self.head(x), dim=1)


def judged(image: Tensor) -> Tensor:
    """uint8 pictures of any size as the judges want them."""
    return F.interpolate(image.float() / 255, (JUDGE_SIZE, JUDGE_SIZE), mode="area")


def small_normals(normals: Tensor) -> Tensor:
    """Truth N x H x W x 3 -> N x 3 x 32 x 32, zero where there is no surface."""
    return F.interpolate(normals.permute(0, 3, 1, 2), (32, 32), mode="nearest")


def normal_error(made: Tensor, truth: Tensor) -> Tensor:
    """Mean angle in degrees between judged and true normals where there is a surface, per picture (N,)."""
    cosine = (made * truth).sum(1).clamp(-1, 1)
    there = truth.abs().sum(1) > 0.5
    return (cosine.acos().rad2deg() * there).sum((1, 2)) / there.sum((1, 2)).clamp(min=1)


def _renders(count: int, first_seed: int) -> tuple[Tensor, Tensor, Tensor]:
    parts = [make(16, first_seed + i, JUDGE_SIZE, torch.device("cpu"), plain=True) for i in range(count // 16)]
    labels = torch.tensor([NAMES.index(caption.material) for part in parts for caption in part.captions])
    return torch.cat([p.image for p in parts]), torch.cat([small_normals(p.normals) for p in parts]), labels


def trained_judges(folder: Path, samples: int, minutes: float) -> tuple[MaterialJudge, NormalJudge]:
    """Both judges, from ``folder`` if they were trained before. samples: renders to learn from."""
    judges = MaterialJudge(), NormalJudge()
    path = folder / "judges.safetensors"
    both = nn.ModuleList(judges)
    if not path.exists():
        torch.manual_seed(0)
        _train(both, *_renders(samples, 500_000_000), minutes)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(both.state_dict(), path)
    both.load_state_dict(load_file(path))
    both.eval()
    return judges


def _train(both: nn.ModuleList, image: Tensor, normal: Tensor, label: Tensor, minutes: float) -> None:
    begin = time.monotonic()
    optimiser = torch.optim.AdamW(both.parameters(), lr=2e-3, weight_decay=0.05)
    rng = random.Random(0)
    while (elapsed := (time.monotonic() - begin) / 60) < minutes:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1.02 - elapsed / minutes)
        at = torch.randint(0, len(image), (32,))
        pictures, normals = judged(image[at]), normal[at]
        if rng.random() < 0.5:
            pictures, normals = pictures.flip(-1), normals.flip(-1) * torch.tensor([-1.0, 1, 1])[:, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            scores, facing = both[0](pictures), both[1](pictures)
        loss = F.cross_entropy(scores.float(), label[at], label_smoothing=0.05)
        there = normals.abs().sum(1) > 0.5
        loss = loss + 2 * ((1 - (facing.float() * normals).sum(1)) * there).sum() / there.sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
