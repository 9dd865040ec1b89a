"""Measures an exported model on scenes, shapes and wordings that training never saw, and writes the table in the docs.

    python starter/evaluate.py server/scumble_server/models/starter WORK --docs docs/starter-model.md

Judges are trained on real renders only; beside each figure stands what the same judge gets on real held-out renders.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from data import HELD_OUT_SEED, Sample, make
from judges import MaterialJudge, NormalJudge, judged, normal_error, small_normals, trained_judges
from materials import MATERIALS
from model import CONTROLS
from prerender import read_shard
from sample import Painter
from torch import Tensor

__all__ = ["geometry", "materials", "memorisation", "seeds", "vae_psnr"]

CPU = torch.device("cpu")
BEGIN, END = "<!-- evaluation begins -->", "<!-- evaluation ends -->"
Rows = list[tuple[str, str, str]]


@torch.no_grad()
def vae_psnr(painter: Painter, size: int = 512, count: int = 8) -> float:
    """Mean peak signal-to-noise ratio, dB, of held-out renders after encoding and decoding."""
    image = make(count, HELD_OUT_SEED + 11, size, CPU).image.float() / 127.5 - 1
    back = torch.cat([painter.vae(part).sample.clamp(-1, 1) for part in image.split(2)])
    return float((-10 * torch.log10(((back - image) / 2).square().mean((1, 2, 3)))).mean())


def _hints(scenes: Sample, kinds: tuple[str, ...] = CONTROLS) -> dict[str, Tensor]:
    return {kind: getattr(scenes, kind) for kind in kinds}


@torch.no_grad()
def materials(painter: Painter, judge: MaterialJudge, repeats: int) -> Rows:
    """Top-1 and top-5 accuracy of the material prompted for, over all materials, and of real renders."""
    real = make(256, HELD_OUT_SEED + 21, 128, CPU, plain=True)
    names = [material.name for material in MATERIALS]
    truth = torch.tensor([names.index(caption.material) for caption in real.captions])
    scores, labels = [], []
    scenes = make(len(names) * repeats, HELD_OUT_SEED + 22, 256, CPU, plain=True)
    for start in range(0, len(names) * repeats, 12):
        at = range(start, min(start + 12, len(names) * repeats))
        prompts = [f"{names[i % len(names)]}, in daylight" for i in at]
        controls = {kind: hint[at.start : at.stop] for kind, hint in _hints(scenes).items()}
        scores.append(judge(judged(painter.paint(prompts, controls, seed=start))))
        labels += [i % len(names) for i in at]
    made = _accuracy(torch.cat(scores), torch.tensor(labels))
    known = _accuracy(judge(judged(real.image)), truth)
    return [
        (f"material, top-{k}", f"{100 * a:.0f} %", f"{100 * b:.0f} %")
        for k, a, b in zip((1, 5), made, known, strict=True)
    ]


def _accuracy(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    hits = scores.topk(5).indices == labels[:, None]
    return float(hits[:, 0].float().mean()), float(hits.any(1).float().mean())


@torch.no_grad()
def geometry(painter: Painter, judge: NormalJudge, count: int) -> Rows:
    """Mean angle between the normals a judge sees in the picture and the truth, per choice of controls."""
    scenes = make(count, HELD_OUT_SEED + 31, 256, CPU)
    truth = small_normals(scenes.normals)
    prompts = [f"{('clay', 'concrete', 'plastic', 'terracotta')[i % 4]}, in studio light" for i in range(count)]
    swapped = {kind: hint.roll(1, 0) for kind, hint in _hints(scenes).items()}
    choices = {
        "depth": _hints(scenes, ("depth",)), "normal": _hints(scenes, ("normal",)), "both": _hints(scenes),
        "no control": {}, "both, of another scene": swapped,
    }  # fmt: skip
    real = float(normal_error(judge(judged(scenes.image)), truth).mean())
    rows = []
    for name, controls in choices.items():
        error = float(normal_error(judge(judged(painter.paint(prompts, controls))), truth).mean())
        rows.append((f"normals from the picture, {name}", f"{error:.1f}°", f"{real:.1f}°"))
    return rows


@torch.no_grad()
def seeds(painter: Painter) -> Rows:
    """How far pictures of one prompt and scene differ between seeds, and of one seed between prompts; mean levels."""
    scene = make(1, HELD_OUT_SEED + 41, 256, CPU)
    six = {kind: hint.expand(6, -1, -1, -1) for kind, hint in _hints(scene).items()}
    by_seed = painter.paint(["stone, in daylight"] * 6, six, seed=0).float()
    one = _hints(scene)
    prompts = ("red brick", "grass", "gold", "ice", "lava", "denim")
    by_prompt = torch.cat([painter.paint([p], one, seed=0) for p in prompts]).float()
    return [
        ("difference between seeds", f"{_spread(by_seed):.1f} levels", ""),
        ("difference between prompts", f"{_spread(by_prompt):.1f} levels", ""),
    ]


def _spread(images: Tensor) -> float:
    flat = images.flatten(1)
    distance = torch.cdist(flat, flat, p=1) / flat.shape[1]
    return float(distance.sum() / (len(flat) * (len(flat) - 1)))


@torch.no_grad()
def memorisation(painter: Painter, shards: Path | None) -> Rows:
    """Distance from generated and from real held-out pictures to the nearest training picture, at 32 x 32 pixels."""
    if shards is None:
        return []
    known = torch.cat([_thumbs(read_shard(path)[0]) for path in sorted(shards.glob("*.safetensors"))])
    scenes = make(16, HELD_OUT_SEED + 51, 256, CPU)
    made = _thumbs(painter.paint([caption.text for caption in scenes.captions], _hints(scenes)))
    nearest = [float(torch.cdist(x, known).amin(1).mean()) for x in (made, _thumbs(scenes.image))]
    return [("distance to the nearest training picture", f"{nearest[0]:.1f}", f"{nearest[1]:.1f}")]


def _thumbs(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.float() / 255, 32).flatten(1)


def table(rows: Rows) -> str:
    """Markdown."""
    lines = ["| measure | generated | real held-out renders |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {a} | {b} | {c} |" for a, b, c in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--judge-renders", type=int, default=3200)
    parser.add_argument("--judge-minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=2, help="pictures per material")
    parser.add_argument("--scenes", type=int, default=16)
    a = parser.parse_args()
    material_judge, normal_judge = trained_judges(a.work, a.judge_renders, a.judge_minutes)
    painter = Painter(a.folder)
    steps: tuple[Callable[[], Rows], ...] = (
        lambda: [("autoencoder, 512²", f"{vae_psnr(painter):.1f} dB", "")],
        lambda: geometry(painter, normal_judge, a.scenes),
        lambda: seeds(painter),
        lambda: memorisation(painter, a.shards),
        lambda: materials(painter, material_judge, a.repeats),
    )
    rows: Rows = []
    for step in steps:
        rows += step()
        print(table(rows[-6:]), flush=True)
    if a.docs is not None:
        text = a.docs.read_text(encoding="utf-8")
        block = f"{BEGIN}\n\n{table(rows)}\n\n{END}"
        a.docs.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    main()
