"""A judge of generated pictures, trained on real renders only: what they are made of, and which way surfaces face.

    python starter/judges.py WORK --minutes 15

Its renders wear a patchwork, a material of its own on each object, so that every one of them teaches several. They are
made once, into WORK, in the first part of the time (on a GPU: afresh for each step); training resumes.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import Order, held_out_pair
from captured import Captured
from data import NO_MATERIAL, make
from materials import MATERIALS
from render import LIGHTS
from safetensors.torch import load_file, save_file
from scenes import Window
from torch import Tensor, nn
from trainer import Run, Trainer, averaged
from views import GROUPS

__all__ = [
    "NAMES",
    "Judge",
    "Opinion",
    "normal_error",
    "orders",
    "scores",
    "small_material",
    "small_normals",
    "train_judge",
    "trained_judge",
    "view_of",
]

NAMES = [material.name for material in MATERIALS]
PICTURE, WINDOW = 256, 128
"""Judged are pictures of this size; it learns from windows of them."""
MATERIAL_STEP, NORMAL_STEP = 8, 4
"""Pixels per answer, each way."""
FIRST_SEED = 500_000_000
BATCH, PACK = 32, 32
CAPTURED_SHARE = 0.5
DATA_SHARE = 0.4
"""Of the time, where samples are made once."""


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.one, self.other = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        nn.init.zeros_(self.other.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.other(F.silu(self.second(self.one(F.silu(self.first(x))))))


@dataclass(frozen=True, slots=True)
class Opinion:
    """material: scores B x materials x H/8 x W/8. normal: B x 3 x H/4 x W/4, view space, unit."""

    material: Tensor
    normal: Tensor


class Judge(nn.Module):
    """One trunk, half the resolution at each level; what is seen all over the picture is told to every place."""

    def __init__(self, widths: tuple[int, int, int, int] = (32, 64, 128, 192)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 4, 2, 1)
        self.levels = nn.ModuleList()
        for index, width in enumerate(widths[1:]):
            down = nn.Conv2d(widths[index], width, 2, 2)
            self.levels.append(nn.Sequential(down, Residual(width), Residual(width)))
        self.mood = nn.Linear(2 * widths[3], widths[3])
        self.rise = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in (2, 1))
        self.refine = nn.ModuleList(nn.Sequential(Residual(widths[i])) for i in (2, 1))
        self.material = nn.Sequential(nn.GroupNorm(8, widths[2]), nn.SiLU(), nn.Conv2d(widths[2], len(NAMES), 1))
        self.normal = nn.Sequential(nn.GroupNorm(8, widths[1]), nn.SiLU(), nn.Conv2d(widths[1], 3, 1))

    def forward(self, image: Tensor) -> Opinion:
        """image: B x 3 x H x W in [0, 1]."""
        x, kept = self.stem((image - 0.45) * 4), []
        for level in self.levels:
            x = level(x)
            kept.append(x)
        everywhere = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=-1)
        x = x + self.mood(F.silu(everywhere))[..., None, None]
        x = self.refine[0](F.interpolate(self.rise[0](x), scale_factor=2.0) + kept[1])
        material = self.material(x)
        x = self.refine[1](F.interpolate(self.rise[1](x), scale_factor=2.0) + kept[0])
        return Opinion(material.float(), F.normalize(self.normal(x).float(), dim=1))


def view_of(image: Tensor) -> Tensor:
    """uint8 pictures B x 3 x 256 x 256 as the judge wants them."""
    return image.float() / 255


def small_normals(normals: Tensor) -> Tensor:
    """Truth B x H x W x 3 -> B x 3 x H/4 x W/4: the mean direction, zero where half or more is no surface."""
    mean = F.avg_pool2d(normals.permute(0, 3, 1, 2), NORMAL_STEP)
    there = F.avg_pool2d((normals.abs().sum(-1) > 0.5).float()[:, None], NORMAL_STEP) > 0.5
    return F.normalize(mean, dim=1) * there


def small_material(material: Tensor) -> Tensor:
    """Truth B x H x W -> B x H/8 x W/8: the material of cells that are of one, NO_MATERIAL for all others."""
    cells = material.unfold(1, MATERIAL_STEP, MATERIAL_STEP).unfold(2, MATERIAL_STEP, MATERIAL_STEP).flatten(3)
    return torch.where((cells == cells[..., :1]).all(-1), cells[..., 0], NO_MATERIAL)


def normal_error(made: Tensor, truth: Tensor) -> Tensor:
    """Mean angle in degrees between judged and true normals where there is a surface, per picture (B,)."""
    cosine = (made * truth).sum(1).clamp(-1, 1)
    there = truth.abs().sum(1) > 0.5
    return (cosine.acos().rad2deg() * there).sum((1, 2)) / there.sum((1, 2)).clamp(min=1)


def scores(opinion: Opinion, material: Tensor) -> Tensor:
    """What the whole picture is made of, B x materials: mean log-probability over its surface.

    material: truth B x H x W, of which only where a surface is counts.
    """
    there = (small_material(material) != NO_MATERIAL)[:, None].float()
    return (opinion.material.log_softmax(1) * there).sum((2, 3)) / there.sum((2, 3)).clamp(min=1)


# --- training


@dataclass(frozen=True, slots=True)
class Lesson:
    """image: uint8 B x 3 x 128 x 128. material: uint8 B x 16 x 16. normal: int8 B x 3 x 32 x 32, in 127ths."""

    image: Tensor
    material: Tensor
    normal: Tensor


def orders(count: int, rng: random.Random) -> list[Order]:
    """Patchworks; no material under a light that is kept for evaluation."""
    made = []
    for _ in range(count):
        light = rng.choice(list(LIGHTS))
        known = [name for name in NAMES if not held_out_pair(name, light)]
        made.append(Order(tuple(rng.choices(known, k=GROUPS)), light))
    return made


def _lesson(seed: int, device: torch.device, captured: Captured | None) -> Lesson:
    rng = random.Random(seed)
    y, x = rng.randrange(PICTURE - WINDOW + 1), rng.randrange(PICTURE - WINDOW + 1)
    window = Window(y, x, WINDOW, WINDOW)
    sample = make(
        BATCH, seed, PICTURE, device, captured=captured, share=CAPTURED_SHARE, orders=orders(BATCH, rng), window=window
    )
    normal = (small_normals(sample.normals) * 127).round().to(torch.int8)
    return Lesson(sample.image, small_material(sample.material), normal)


def _make_lessons(folder: Path, minutes: float, captured: Captured | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + minutes * 60
    for number in itertools.count():
        path = folder / f"{number:05d}.safetensors"
        if time.monotonic() > end:
            return
        if not path.exists():
            lesson = _lesson(FIRST_SEED + number, torch.device("cpu"), captured)
            temporary = path.with_suffix(".part")
            save_file({name: getattr(lesson, name).contiguous() for name in Lesson.__slots__}, temporary)
            temporary.replace(path)


def _lessons(run: Run, captured: Captured | None) -> Iterator[Lesson]:
    device = torch.device(run.device)
    if device.type == "cuda":
        for seed in itertools.count(FIRST_SEED + run.seed):
            yield _lesson(seed, device, captured)
    files = [load_file(path) for path in sorted((run.work / "lessons").glob("*.safetensors"))]
    image, material, normal = (torch.cat([file[name] for file in files]) for name in Lesson.__slots__)
    while True:
        for at in torch.randperm(len(image)).split(run.batch):
            if len(at) == run.batch:
                yield Lesson(image[at], material[at], normal[at])


def train_judge(run: Run) -> None:
    """Stage ``judge`` of ``run.work``."""
    device = torch.device(run.device)
    torch.manual_seed(run.seed)
    captured = Captured(run.captured, device, PICTURE) if run.captured is not None else None
    if device.type == "cpu":
        _make_lessons(run.work / "lessons", run.minutes * DATA_SHARE, captured)
        run = replace(run, minutes=run.minutes * (1 - DATA_SHARE), total=run.total * (1 - DATA_SHARE))
    judge = Judge().to(device, memory_format=torch.channels_last)
    trainer = Trainer(run, "judge", {"judge": judge})
    source = _lessons(run, captured)

    def loss_of() -> Tensor:
        lesson = next(source)
        image = view_of(lesson.image.to(device)).contiguous(memory_format=torch.channels_last)
        opinion = judge(image * (0.85 + 0.3 * torch.rand(len(image), 1, 1, 1, device=device)))
        label, normal = lesson.material.long().to(device), lesson.normal.float().to(device) / 127
        known = label != NO_MATERIAL
        naming = F.cross_entropy(opinion.material.permute(0, 2, 3, 1)[known], label[known], label_smoothing=0.05)
        there = normal.abs().sum(1) > 0.5
        facing = ((1 - (opinion.normal * normal).sum(1)) * there).sum() / there.sum().clamp(min=1)
        return naming + 4 * facing

    trainer.loop(loss_of)


def trained_judge(work: Path) -> Judge:
    """The judge of that folder, averaged over its training, on the CPU."""
    judge = Judge()
    judge.load_state_dict(averaged(work, "judge", "judge", torch.device("cpu")))
    return judge.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--captured", type=Path, help="folder of views that capture.py made")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    train_judge(
        Run(a.work, "judge", a.minutes, a.minutes, BATCH, PICTURE, WINDOW, 2e-3, None, a.device, captured=a.captured)
    )


if __name__ == "__main__":
    main()
