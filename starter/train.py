"""Trains the starter model, stage by stage, within a given time.

    python starter/train.py vae WORK --size cpu --minutes 20 --shards SHARDS
    python starter/train.py diffusion WORK --size cpu --minutes 60 --shards SHARDS
    python starter/train.py decoder WORK --size cpu --minutes 10 --shards SHARDS

Stages: ``vae`` the autoencoder; ``words`` the text encoder by itself; ``diffusion`` UNet and both ControlNets together;
``decoder`` sharpens the decoder without moving the latents. Without --shards every sample is made fresh on the device,
which is what a GPU is for. A stage that is started again resumes; the learning rate falls over --total minutes, all
runs together.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
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
from prerender import read_captions, read_shard
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from trainer import Run, Trainer, autocast, averaged, compiled
from words import train_words

__all__ = ["train_diffusion", "train_vae"]

KL_WEIGHT = 1e-5
CAPTION_DROPOUT = 0.12
REGION_WEIGHT = 6.0
CONTROL_MIX = (0.34, 0.21, 0.3, 0.15)
"""How often training shows depth alone, both controls, normals alone, and no control at all."""


def pictures(run: Run, crop: int) -> Iterator[Tensor]:
    """Endless batches of pictures in [-1, 1], B x 3 x crop x crop."""
    device, rng, seed = torch.device(run.device), random.Random(run.seed), run.seed
    while True:
        if run.shards is None:
            image = make(run.batch, seed, run.resolution, device).image
            seed += 1
        else:
            image = torch.cat([read_shard(path)[0] for path in rng.sample(sorted(run.shards.glob("*.safetensors")), 2)])
        for part in image[torch.randperm(len(image))].split(run.batch):
            y, x = (rng.randrange(part.shape[-1] - crop + 1) for _ in range(2))
            yield part[..., y : y + crop, x : x + crop].to(device).float() / 127.5 - 1.0


def picture_loss(made: Tensor, truth: Tensor) -> Tensor:
    """L1 on pixels and on differences between neighbours, which keep edges and grain, at four scales."""
    loss = torch.zeros((), device=made.device)
    for scale in range(4):
        loss = loss + F.l1_loss(made, truth)
        for dim in (-1, -2):
            loss = loss + 0.3 * F.l1_loss(made.diff(dim=dim), truth.diff(dim=dim)) / (scale + 1)
        made, truth = F.avg_pool2d(made, 2), F.avg_pool2d(truth, 2)
    return loss


def train_vae(run: Run, decoder_only: bool = False) -> None:
    """Stage ``vae``, or ``decoder``: the encoder stays, the decoder goes on from the averaged weights."""
    device = torch.device(run.device)
    vae = build_vae(SIZES[run.size]).to(device, memory_format=torch.channels_last)
    frozen: tuple[str, ...] = ()
    if decoder_only:
        vae.load_state_dict(averaged(run.work, "vae", "vae", device))
        frozen = ("vae.encoder", "vae.quant_conv")
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trainer = Trainer(run, "decoder" if decoder_only else "vae", {"vae": vae}, frozen)
    source = pictures(run, run.crop)

    def loss_of() -> Tensor:
        image = next(source).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(image).latent_dist
        made = vae.decode(posterior.sample()).sample
        loss = picture_loss(made.float(), image)
        if decoder_only:
            return loss
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1.0 - posterior.logvar).float().mean()
        return loss + KL_WEIGHT * kl

    trainer.loop(loss_of)


@dataclass(frozen=True, slots=True)
class Batch:
    """latent: B x 4 x h x w, scaled. depth, normal: B x 3 x H x W in [0, 1]. captions: B texts."""

    latent: Tensor
    depth: Tensor
    normal: Tensor
    captions: list[str]


class Latents:
    """Where the diffusion stage gets its batches: fresh samples, or shards whose latents are computed once."""

    def __init__(self, run: Run) -> None:
        self.run, self.device = run, torch.device(run.device)
        self.vae = build_vae(SIZES[run.size]).to(self.device, memory_format=torch.channels_last).eval()
        self.vae.load_state_dict(averaged(run.work, "vae", "vae", self.device))
        self.rng = random.Random(run.seed)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """uint8 pictures -> unscaled latents."""
        with autocast(self.device):
            x = (image.to(self.device).float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
            return torch.cat([self.vae.encode(part).latent_dist.mean for part in x.split(16)]).float()

    def scale(self) -> float:
        """1 / standard deviation of the latents: what brings them to unit variance."""
        path = self.run.work / "latent_scale.txt"
        if not path.exists():
            image = next(pictures(self.run, self.run.resolution))
            path.write_text(f"{1.0 / float(self.encode((image + 1) * 127.5).std()):.4f}")
        return float(path.read_text())

    def _fresh(self) -> Iterator[Batch]:
        seed, scale = self.run.seed, self.scale()
        while True:
            sample = make(self.run.batch, seed, self.run.resolution, self.device)
            texts = [caption.text for caption in sample.captions]
            latent = self.encode(sample.image) * scale
            yield Batch(latent, sample.depth.float() / 255, sample.normal.float() / 255, texts)
            seed += 1

    def _cached(self, path: Path) -> Tensor:
        store = self.run.work / "latents" / path.name
        if not store.exists():
            store.parent.mkdir(exist_ok=True)
            save_file({"latent": self.encode(read_shard(path)[0]).half()}, store)
        return load_file(store)["latent"]

    def _stored(self, shards: Path) -> Iterator[Batch]:
        scale = self.scale()
        while True:
            paths = sorted(shards.glob("*.safetensors"))
            chosen = self.rng.sample(paths, min(6, len(paths)))
            latent = torch.cat([self._cached(path) for path in chosen])
            _, depth, normal = zip(*(read_shard(path) for path in chosen), strict=True)
            texts = [caption.text for path in chosen for caption in read_captions(path)]
            order = torch.randperm(len(texts))
            both = torch.cat(depth).expand(-1, 3, -1, -1), torch.cat(normal)
            for at in order.split(self.run.batch):
                controls = [(part[at].to(self.device).float() / 255) for part in both]
                yield Batch(latent[at].to(self.device).float() * scale, *controls, [texts[i] for i in at.tolist()])

    def __iter__(self) -> Iterator[Batch]:
        source = self._fresh() if self.run.shards is None else self._stored(self.run.shards)
        return (self._cropped(batch) for batch in source)

    def _cropped(self, batch: Batch) -> Batch:
        """One window of ``crop`` pixels for the whole batch: what small pictures teach comes four times as fast."""
        side, full = self.run.crop // 8, self.run.resolution // 8
        if side == full:
            return batch
        y, x = (self.rng.randrange(full - side + 1) for _ in range(2))
        latent = batch.latent[..., y : y + side, x : x + side]
        window = (..., slice(8 * y, 8 * (y + side)), slice(8 * x, 8 * (x + side)))
        return Batch(latent, batch.depth[window], batch.normal[window], batch.captions)


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
    source = iter(Latents(run))
    generator = torch.Generator().manual_seed(run.seed + trainer.step)

    def loss_of() -> Tensor:
        batch = next(source)
        count = len(batch.latent)
        texts = [text_ if random.random() > CAPTION_DROPOUT else "" for text_ in batch.captions]
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        words = text(tokens).last_hidden_state
        # Noisier times are drawn more often: what a picture shows is decided there, in few steps.
        t = (torch.rand(count, generator=generator) ** 0.35 * len(alphas)).long().to(device)
        a = alphas[t].sqrt()[:, None, None, None]
        s = (1 - alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn(batch.latent.shape, generator=generator).to(device)
        noisy = a * batch.latent + s * noise
        residuals: list[Tensor] = []
        for rows, (name, hint) in zip(
            control_rows(count), zip(CONTROLS, (batch.depth, batch.normal), strict=True), strict=True
        ):
            if rows.stop > rows.start:
                down, mid = nets[name](noisy[rows], t[rows], words[rows], hint[rows], return_dict=False)
                residuals = spread(residuals, rows, [*down, mid], count)
        extra = {"down_block_additional_residuals": residuals[:-1], "mid_block_additional_residual": residuals[-1]}
        made = unet(noisy, t, words, return_dict=False, **(extra if residuals else {}))[0]
        velocity = a * noise - s * batch.latent
        error = made.float() - velocity
        # What words decide, the colour of whole regions, drowns in pixel noise unless it is also asked for by itself.
        return error.square().mean() + REGION_WEIGHT * F.adaptive_avg_pool2d(error, 2).square().mean()

    trainer.loop(loss_of)


def _modules(size: Size, device: torch.device) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"unet": build_unet(size)}
    for name in CONTROLS:
        modules[f"controlnet_{name}"] = build_controlnet(size)
    for name, module in modules.items():
        module.to(device)
        if name != "text_encoder":
            module.to(memory_format=torch.channels_last)
            if device.type == "cpu":
                # Fused attention's backward pass is slow there for so few tokens and so narrow heads.
                module.set_attn_processor(AttnProcessor())
    return modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("vae", "words", "diffusion", "decoder"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--total", type=float, help="minutes of all runs of this stage; default: this run's")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--crop", type=int, default=64, help="side of the window that is trained on, pixels")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    total = a.minutes if a.total is None else a.total
    run = Run(
        a.work, a.size, a.minutes, total, a.batch, a.resolution, min(a.crop, a.resolution), a.learning_rate, a.shards,
        a.device, seed=a.seed,
    )  # fmt: skip
    if a.stage == "diffusion":
        train_diffusion(run)
    elif a.stage == "words":
        train_words(run)
    else:
        train_vae(run, decoder_only=a.stage == "decoder")


if __name__ == "__main__":
    main()
