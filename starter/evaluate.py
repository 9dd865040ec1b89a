"""Measures an exported model on scenes, shapes and wordings that training never saw, and writes the table in the docs.

    python starter/judges.py WORK --minutes 15
    python starter/evaluate.py server/scumble_server/models/starter WORK --docs docs/starter-model.md

The judge is trained on real renders only. Beside each figure stands what the same judge gets on real renders of the
very same scenes, in the same materials and light. Half of the scenes are ray-cast, half are Blender's (held_out/).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import Order
from captured import Captured
from data import HELD_OUT_SEED, Sample, control_images, make
from judges import NAMES, PICTURE, Judge, normal_error, scores, small_normals, trained_judge, view_of
from model import CONTROLS
from prerender import read_shard
from render import LIGHTS
from sample import Painter, sheet
from torch import Tensor
from views import GROUPS

__all__ = ["Bench", "geometry", "materials", "memorisation", "seeds", "table", "vae_psnr"]

CPU = torch.device("cpu")
BEGIN, END = "<!-- evaluation begins -->", "<!-- evaluation ends -->"
HELD_OUT = Path(__file__).parent / "held_out"
VIEW_LIGHTS = ("daylight", "studio", "overcast", "sunset")
"""Of the pictures of one material, in turn."""
PLAIN = ("clay", "concrete", "plastic", "terracotta")
SHEET_PROMPTS = (
    "red brick", "mossy stone at dusk", "gold, studio lighting", "snow on a sunny day", "blue glazed ceramic",
    "wooden planks at golden hour", "lava at night",
)  # fmt: skip
Rows = list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures, and what is measured. blender: the captured views that are kept for evaluation."""

    painter: Painter
    judge: Judge
    blender: Captured


@torch.no_grad()
def vae_psnr(bench: Bench, size: int = 512, count: int = 8) -> Rows:
    """Mean peak signal-to-noise ratio of held-out renders after encoding and decoding."""
    image = make(count, HELD_OUT_SEED + 11, size, CPU).image.float() / 127.5 - 1
    vae = bench.painter.vae
    back = torch.cat([vae(part.to(vae.device)).sample.clamp(-1, 1).cpu() for part in image.split(2)])
    ratio = float((-10 * torch.log10(((back - image) / 2).square().mean((1, 2, 3)))).mean())
    return [(f"autoencoder, {size}²", f"{ratio:.1f} dB", "")]


def _hints(scenes: Sample, kinds: tuple[str, ...] = CONTROLS) -> dict[str, Tensor]:
    return {kind: getattr(scenes, kind) for kind in kinds}


def _prompt(order: Order) -> str:
    return f"{order.materials[0]}, {LIGHTS[order.light].phrases[0]}"


def _parts(count: int, size: int = 12) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _paint(bench: Bench, prompts: list[str], controls: dict[str, Tensor], seed: int) -> Tensor:
    parts = _parts(len(prompts))
    return torch.cat(
        [
            bench.painter.paint(prompts[at], {kind: hint[at] for kind, hint in controls.items()}, seed=seed + at.start)
            for at in parts
        ]
    )


@torch.no_grad()
def materials(bench: Bench, repeats: int) -> Rows:
    """Accuracy of the material prompted for, over all materials: one picture at a time, and by all of a material's."""
    orders = [Order((name,) * GROUPS, VIEW_LIGHTS[i % len(VIEW_LIGHTS)]) for i in range(repeats) for name in NAMES]
    labels = torch.arange(len(NAMES)).repeat(repeats)
    made, real = [], []
    for number, at in enumerate(_parts(len(orders))):
        wanted = orders[at]
        scenes = make(
            len(wanted), HELD_OUT_SEED + 100 + number, PICTURE, CPU, captured=bench.blender, share=0.5, orders=wanted
        )
        pictures = _paint(bench, [_prompt(order) for order in wanted], _hints(scenes), seed=at.start)
        for found, image in ((made, pictures), (real, scenes.image)):
            found.append(scores(bench.judge(view_of(image)), scenes.material))
    columns = [_accuracies(torch.cat(found), labels, repeats) for found in (made, real)]
    rows = [(name, f"{100 * a:.0f} %", f"{100 * b:.0f} %") for (name, a), (_, b) in zip(*columns, strict=True)]
    right = torch.cat(made).argmax(1) == labels
    hits = dict(zip(NAMES, right.view(repeats, -1).sum(0).tolist(), strict=True))
    for word, count in (("never recognised", 0), ("always recognised", repeats)):
        found = [name for name in NAMES if hits[name] == count]
        print(f"{word}: {', '.join(found)}")
    return rows


def _accuracies(given: Tensor, labels: Tensor, repeats: int) -> list[tuple[str, float]]:
    best = given.topk(5).indices == labels[:, None]
    rows = [
        ("material named right, of " + str(len(NAMES)), float(best[:, 0].float().mean())),
        ("material among the first five", float(best.any(1).float().mean())),
    ]
    if repeats > 1:
        together = given.view(repeats, len(NAMES), -1).mean(0).argmax(1) == labels[: len(NAMES)]
        rows.append((f"material named right from {repeats} pictures", float(together.float().mean())))
    return rows


@torch.no_grad()
def geometry(bench: Bench, count: int, blender: bool) -> Rows:
    """Mean angle between the normals a judge sees in the picture and the truth, per choice of controls."""
    orders = [Order((PLAIN[i % len(PLAIN)],) * GROUPS, "studio") for i in range(count)]
    captured = bench.blender if blender else None
    scenes = make(count, HELD_OUT_SEED + 31, PICTURE, CPU, captured=captured, orders=orders)
    truth = small_normals(scenes.normals)
    prompts = [_prompt(order) for order in orders]
    swapped = {kind: hint.roll(1, 0) for kind, hint in _hints(scenes).items()}
    choices = {
        "depth": _hints(scenes, ("depth",)), "normal": _hints(scenes, ("normal",)), "both": _hints(scenes),
        "no control": {}, "both, of another scene": swapped,
    }  # fmt: skip
    where = "Blender's scenes" if blender else "ray-cast scenes"
    real = _facing(bench.judge, scenes.image, truth)
    rows = []
    for name, controls in choices.items():
        error = _facing(bench.judge, _paint(bench, prompts, controls, seed=0), truth)
        rows.append((f"normals seen, {where}: {name}", f"{error:.1f}°", f"{real:.1f}°"))
    guess = F.normalize(truth.sum((0, 2, 3)), dim=0)[None, :, None, None].expand_as(truth)
    return [
        *rows,
        (f"normals seen, {where}: one guess for all", f"{float(normal_error(guess, truth).mean()):.1f}°", ""),
    ]


def _facing(judge: Judge, pictures: Tensor, truth: Tensor) -> float:
    parts = [normal_error(judge(view_of(pictures[at])).normal, truth[at]) for at in _parts(len(pictures))]
    return float(torch.cat(parts).mean())


@torch.no_grad()
def seeds(bench: Bench) -> Rows:
    """How far pictures of one prompt and scene differ between seeds, and of one seed between prompts; mean levels."""
    one = _hints(make(1, HELD_OUT_SEED + 41, PICTURE, CPU))
    six = {kind: hint.expand(6, -1, -1, -1) for kind, hint in one.items()}
    by_seed = bench.painter.paint(["stone, in daylight"] * 6, six, seed=0).float()
    prompts = ("red brick", "grass", "gold", "ice", "lava", "denim")
    by_prompt = torch.cat([bench.painter.paint([p], one, seed=0) for p in prompts]).float()
    return [
        ("difference between seeds", f"{_spread(by_seed):.1f} levels", ""),
        ("difference between prompts", f"{_spread(by_prompt):.1f} levels", ""),
    ]


def _spread(images: Tensor) -> float:
    flat = images.flatten(1)
    distance = torch.cdist(flat, flat, p=1) / flat.shape[1]
    return float(distance.sum() / (len(flat) * (len(flat) - 1)))


@torch.no_grad()
def memorisation(bench: Bench, shards: list[Path]) -> Rows:
    """Distance from generated and from real held-out pictures to the nearest training picture, at 32 x 32 pixels."""
    paths = [path for folder in shards for path in sorted(folder.glob("*.safetensors"))]
    if not paths:
        return []
    known = torch.cat([_thumbs(read_shard(path)[0]) for path in paths])
    scenes = make(16, HELD_OUT_SEED + 51, PICTURE, CPU)
    made = _thumbs(_paint(bench, [caption.text for caption in scenes.captions], _hints(scenes), seed=0))
    nearest = [float(torch.cdist(x, known).amin(1).mean()) for x in (made, _thumbs(scenes.image))]
    name = f"distance to the nearest of {len(known)} training pictures"
    return [(name, f"{nearest[0]:.1f}", f"{nearest[1]:.1f}")]


def _thumbs(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.float() / 255, 32).flatten(1)


@torch.no_grad()
def blender_sheet(bench: Bench, out: Path) -> None:
    """One view of every kind of scene that is kept for evaluation, in several prompts."""
    kinds = bench.blender.views.source[:, 0].tolist()
    first = [kinds.index(kind) for kind in sorted(set(kinds))]
    shot = bench.blender.shot(torch.tensor(first))
    scenes = control_images(shot.scene, shot.buffers)
    rows = []
    for row in range(len(first)):
        controls = {kind: hint[row : row + 1].expand(len(SHEET_PROMPTS), -1, -1, -1) for kind, hint in scenes.items()}
        rows.append(torch.cat([scenes["normal"][row : row + 1], _paint(bench, list(SHEET_PROMPTS), controls, seed=0)]))
    sheet(rows).save(out, quality=85, optimize=True)


def table(rows: Rows) -> str:
    """Markdown."""
    lines = ["| measure | generated | real held-out renders |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {a} | {b} | {c} |" for a, b, c in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path, help="where judges.py trained the judge")
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--sheet", type=Path, help="picture of Blender's scenes to write, .jpg")
    parser.add_argument(
        "--shards", type=Path, nargs="*", default=[], help="training pictures, for the nearest neighbour"
    )
    parser.add_argument("--repeats", type=int, default=4, help="pictures per material")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args()
    bench = Bench(Painter(a.folder, a.device), trained_judge(a.work), Captured(HELD_OUT, CPU, PICTURE))
    if a.sheet is not None:
        blender_sheet(bench, a.sheet)
    steps: tuple[Callable[[], Rows], ...] = (
        lambda: materials(bench, a.repeats),
        lambda: geometry(bench, a.scenes, blender=False),
        lambda: geometry(bench, a.scenes, blender=True),
        lambda: vae_psnr(bench),
        lambda: seeds(bench),
        lambda: memorisation(bench, a.shards),
    )
    rows: Rows = []
    for step in steps:
        made = step()
        print(table(made), flush=True)
        rows += made
    if a.docs is not None:
        text = a.docs.read_text(encoding="utf-8")
        block = f"{BEGIN}\n\n{table(rows)}\n\n{END}"
        a.docs.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    main()
