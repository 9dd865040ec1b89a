"""Trains the starter model, stage by stage, within a given time.

    python starter/train.py words WORK --size cpu --minutes 4
    python starter/train.py diffusion WORK --size cpu --minutes 60 --shards SHARDS
    python starter/train.py decoder WORK --size cpu --minutes 10 --shards SHARDS
    python starter/train.py decoder WORK --size cpu --minutes 10 --shards SHARDS --painted 0.5

Stages: ``words`` the text encoder by itself; ``diffusion`` UNet and both ControlNets together; ``decoder`` the
autoencoder's second half (its first is set, see autoencoder.py), with --painted from latents as the trained networks
paint them, too. Without --shards every sample is made fresh on the
device, which is what a GPU is for. A stage that is started again resumes; the learning rate falls over --total
minutes, all runs together.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from autoencoder import pixels_to_latents
from captured import Captured
from data import make
from diffusers.models.attention_processor import AttnProcessor
from model import (
    CONTROLS,
    SIZES,
    Size,
    build_controlnet,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    build_vae,
    scheduler,
)
from painted import Repainter
from prerender import read_captions, read_shard
from torch import Tensor, nn
from trainer import Run, Trainer, averaged, compiled
from words import train_words

__all__ = ["batches", "picture_loss", "train_decoder", "train_diffusion"]

CAPTION_DROPOUT = 0.12
CONTROL_MIX = (0.34, 0.21, 0.3, 0.15)
"""How often training shows depth alone, both controls, normals alone, and no control at all."""

BEGINNINGS = (0.5, 0.2)
"""Samples of pure noise for each of any noise, at the beginning of training and at its end: colour and light are
decided there, and learnt first; patterns form later on the way."""

MADE_LATENT_NOISE = 0.06
"""Generated latents are a little off; a decoder that has only seen right ones turns that into grain."""


@dataclass(frozen=True, slots=True)
class Batch:
    """image: B x 3 x H x W in [-1, 1]. depth, normal: B x 3 x H x W in [0, 1]. captions: B texts."""

    image: Tensor
    depth: Tensor
    normal: Tensor
    captions: list[str]


def batches(run: Run) -> Iterator[Batch]:
    """Endless batches: one window of ``crop`` pixels of ``batch`` pictures; not mirrored, as the light has its side."""
    rng, device = random.Random(run.seed), torch.device(run.device)
    for image, depth, normal, captions in _samples(run, rng):
        side, full = run.crop // 8, image.shape[-1] // 8
        # The same window for all of a batch. What small pictures teach comes four times as fast.
        y, x = (8 * rng.randrange(full - side + 1) for _ in range(2))
        window = (..., slice(y, y + run.crop), slice(x, x + run.crop))
        parts = [part[window].to(device).float() for part in (image, depth.expand(-1, 3, -1, -1), normal)]
        yield Batch(parts[0] / 127.5 - 1.0, parts[1] / 255.0, parts[2] / 255.0, captions)


def _samples(run: Run, rng: random.Random) -> Iterator[tuple[Tensor, Tensor, Tensor, list[str]]]:
    """uint8 image, depth and normal pictures with captions: made afresh, or from shards, six of them shuffled."""
    if run.shards is None:
        device, captured = torch.device(run.device), None
        if run.captured is not None:
            captured = Captured(run.captured, device, run.resolution)
        for seed in itertools.count(run.seed):
            sample = make(run.batch, seed, run.resolution, device, captured=captured, share=run.captured_share)
            yield sample.image, sample.depth, sample.normal, [caption.text for caption in sample.captions]
    while True:
        paths = sorted(run.shards.glob("*.safetensors"))
        chosen = rng.sample(paths, min(6, len(paths)))
        image, depth, normal = (torch.cat(part) for part in zip(*(read_shard(path) for path in chosen), strict=True))
        texts = [caption.text for path in chosen for caption in read_captions(path)]
        for at in torch.randperm(len(texts)).split(run.batch):
            yield image[at], depth[at], normal[at], [texts[i] for i in at.tolist()]


def picture_loss(made: Tensor, truth: Tensor) -> Tensor:
    """L1 on pixels and on differences between neighbours, which keep edges and grain, at four scales."""
    loss = torch.zeros((), device=made.device)
    for scale in range(4):
        loss = loss + F.l1_loss(made, truth)
        for dim in (-1, -2):
            loss = loss + 0.3 * F.l1_loss(made.diff(dim=dim), truth.diff(dim=dim)) / (scale + 1)
        made, truth = F.avg_pool2d(made, 2), F.avg_pool2d(truth, 2)
    return loss


def train_decoder(run: Run) -> None:
    """Stage ``decoder``: pictures from latents."""
    device = torch.device(run.device)
    torch.manual_seed(run.seed)
    vae = build_vae(SIZES[run.size]).to(device, memory_format=torch.channels_last)
    trainer = Trainer(run, "decoder", {"decoder": vae.decoder})
    decode, source = compiled(vae.decode, device), batches(run)
    repainter = Repainter(run) if run.painted > 0.0 else None

    def loss_of() -> Tensor:
        batch = next(source)
        image = batch.image.contiguous(memory_format=torch.channels_last)
        latent = pixels_to_latents(image)
        if repainter is not None and torch.rand(()) < run.painted:
            latent = repainter.paint(latent, batch.captions, {"depth": batch.depth, "normal": batch.normal})
        latent = latent + MADE_LATENT_NOISE * torch.rand(len(latent), 1, 1, 1, device=device) * torch.randn_like(latent)
        return picture_loss(decode(latent).sample.float(), image)

    trainer.loop(loss_of)


def control_rows(count: int) -> tuple[slice, slice]:
    """Which rows of a batch see depth, and which normals: fixed slices, so that compiled code keeps its shapes."""
    depth_alone, both, normal_alone, _ = CONTROL_MIX
    bounds = [round(count * share) for share in (depth_alone, depth_alone + both, depth_alone + both + normal_alone)]
    return slice(0, bounds[1]), slice(bounds[0], bounds[2])


def spread(total: list[Tensor], rows: slice, residuals: list[Tensor], count: int) -> list[Tensor]:
    """A ControlNet's residuals of some rows, added to the whole batch's; rows without control get none."""
    padding = [part.new_zeros(rows.start, *part.shape[1:]) for part in residuals]
    rest = [part.new_zeros(count - rows.stop, *part.shape[1:]) for part in residuals]
    whole = [torch.cat(parts) for parts in zip(padding, residuals, rest, strict=True)]
    return [a + b for a, b in zip(total, whole, strict=True)] if total else whole


def train_diffusion(run: Run) -> None:
    """UNet and both ControlNets at once: with so little to unlearn, order brings nothing."""
    device, size = torch.device(run.device), SIZES[run.size]
    torch.manual_seed(run.seed)
    tokenizer = build_tokenizer()
    # The text encoder stays as it is: a fresh UNet, to which words are noise at first, would train it to be silent.
    text = build_text_encoder(size, tokenizer).to(device).requires_grad_(False)
    text.load_state_dict(averaged(run.work, "words", "text_encoder", device))
    modules = _modules(size, device)
    trainer = Trainer(run, "diffusion", modules)
    unet = compiled(modules["unet"], device)
    nets = {name: compiled(modules[f"controlnet_{name}"], device) for name in CONTROLS}
    alphas = scheduler().alphas_cumprod.to(device)
    source = batches(run)
    generator = torch.Generator().manual_seed(run.seed + trainer.step)

    def loss_of() -> Tensor:
        batch = next(source)
        latent, count = pixels_to_latents(batch.image), len(batch.captions)
        texts = [text_ if random.random() > CAPTION_DROPOUT else "" for text_ in batch.captions]
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        words = text(tokens).last_hidden_state
        # A good share begins from nothing but noise: what words and geometry say by themselves is learnt there.
        first, last = BEGINNINGS
        beginnings = first + (last - first) * min(1.0, trainer.minutes / run.total)
        drawn = torch.rand(count, generator=generator) * (1.0 + beginnings)
        t = (drawn * len(alphas)).long().clamp(max=len(alphas) - 1).to(device)
        a = alphas[t].sqrt()[:, None, None, None]
        s = (1 - alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn(latent.shape, generator=generator).to(device)
        noisy = a * latent + s * noise
        residuals: list[Tensor] = []
        for rows, (name, hint) in zip(
            control_rows(count), zip(CONTROLS, (batch.depth, batch.normal), strict=True), strict=True
        ):
            if rows.stop > rows.start:
                down, mid = nets[name](noisy[rows], t[rows], words[rows], hint[rows], return_dict=False)
                residuals = spread(residuals, rows, [*down, mid], count)
        extra = {"down_block_additional_residuals": residuals[:-1], "mid_block_additional_residual": residuals[-1]}
        made = unet(noisy, t, words, return_dict=False, **(extra if residuals else {}))[0]
        velocity = a * noise - s * latent
        return F.mse_loss(made.float(), velocity)

    trainer.loop(loss_of)


def _modules(size: Size, device: torch.device) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"unet": build_unet(size)}
    for name in CONTROLS:
        modules[f"controlnet_{name}"] = build_controlnet(size)
    for module in modules.values():
        module.to(device, memory_format=torch.channels_last)
        if device.type == "cpu":
            # Fused attention's backward pass is slow there for so few tokens and so narrow heads.
            module.set_attn_processor(AttnProcessor())
    return modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("words", "diffusion", "decoder"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--total", type=float, help="minutes of all runs of this stage; default: this run's")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--crop", type=int, default=64, help="side of the window that is trained on, pixels")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--captured", type=Path, help="folder of views that capture.py made")
    parser.add_argument("--captured-share", type=float, default=0.35, help="of samples made afresh")
    parser.add_argument("--painted", type=float, default=0.0, help="share of batches that the networks paint again")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    total = a.minutes if a.total is None else a.total
    run = Run(
        a.work, a.size, a.minutes, total, a.batch, a.resolution, min(a.crop, a.resolution), a.learning_rate, a.shards,
        a.device, seed=a.seed, captured=a.captured, captured_share=a.captured_share, painted=a.painted,
    )  # fmt: skip
    {"words": train_words, "diffusion": train_diffusion, "decoder": train_decoder}[a.stage](run)


if __name__ == "__main__":
    main()
