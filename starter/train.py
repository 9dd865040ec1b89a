"""Trains the starter model, stage by stage, within a given time.

    python starter/train.py vae WORK --size cpu --minutes 20 --shards SHARDS
    python starter/train.py diffusion WORK --size cpu --minutes 60 --shards SHARDS
    python starter/train.py decoder WORK --size cpu --minutes 10 --shards SHARDS

Stages: ``vae`` the autoencoder; ``diffusion`` text encoder, UNet and both ControlNets together; ``decoder`` sharpens
the decoder without moving the latents. Without --shards every sample is made fresh on the device, which is what a GPU
is for. A stage that is started again resumes; the learning rate falls over --total minutes, all runs together.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import checkpoint
from data import make
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

__all__ = ["Run", "train_diffusion", "train_vae"]

KL_WEIGHT = 1e-4
CAPTION_DROPOUT = 0.12
CONTROL_MIX = (0.34, 0.3, 0.21, 0.15)
"""How often training shows depth alone, normals alone, both, and no control at all."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one invocation is asked to do. work: folder of all state. total: minutes over which the learning rate
    falls, all runs together. save_every: minutes between checkpoints."""

    work: Path
    size: str
    minutes: float
    total: float
    batch: int
    resolution: int
    learning_rate: float
    shards: Path | None = None
    device: str = "cpu"
    save_every: float = 3.0
    seed: int = 0


class Trainer:
    """One optimiser with its average, clock and checkpoints; the loop of every stage."""

    def __init__(self, run: Run, name: str, modules: dict[str, nn.Module], frozen: tuple[str, ...] = ()) -> None:
        self.run, self.folder = run, run.work / name
        self.device = torch.device(run.device)
        self.modules = modules
        self.parameters = {
            f"{part}.{key}": parameter
            for part, module in modules.items()
            for key, parameter in module.named_parameters()
            if not any(f"{part}.{key}".startswith(prefix) for prefix in frozen)
        }
        self.average = {key: parameter.detach().clone() for key, parameter in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=run.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3,
            fused=self.device.type == "cuda",
        )  # fmt: skip
        self.step, self.minutes = 0, 0.0
        self._resume()

    def _resume(self) -> None:
        found = checkpoint.load(self.folder, self.device)
        if found is None:
            return
        tensors, facts = found
        self.step, self.minutes = facts["step"], facts["minutes"]
        with torch.no_grad():
            for key, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{key}"])
                self.average[key].copy_(tensors[f"average/{key}"])
                state = {name: tensors[f"{name}/{key}"].float() for name in ("exp_avg", "exp_avg_sq")}
                self.optimiser.state[parameter] = {**state, "step": torch.tensor(float(self.step))}

    def save(self) -> None:
        """Weights, their average, and the optimiser's two moments."""
        tensors: dict[str, Tensor] = {}
        for key, parameter in self.parameters.items():
            tensors[f"weight/{key}"], tensors[f"average/{key}"] = parameter, self.average[key]
            for name in ("exp_avg", "exp_avg_sq"):
                tensors[f"{name}/{key}"] = self.optimiser.state[parameter][name]
        checkpoint.save(self.folder, tensors, {"step": self.step, "minutes": self.minutes, "size": self.run.size})

    def loop(self, loss_of: Callable[[], Tensor]) -> None:
        """Steps until the time is up."""
        begin, base = time.monotonic(), self.minutes
        saved, shown, recent = base, base, 0.0
        while self.minutes - base < self.run.minutes:
            progress = min(1.0, self.minutes / self.run.total)
            rate = self.run.learning_rate * (0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * progress)))
            for group in self.optimiser.param_groups:
                group["lr"] = rate * min(1.0, (self.step + 1) / 60)
            with autocast(self.device):
                loss = loss_of()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.step += 1
            self._follow()
            recent += (float(loss.detach()) - recent) * max(0.02, 1.0 / self.step)
            self.minutes = base + (time.monotonic() - begin) / 60
            if self.minutes - shown > 0.5:
                print(f"{self.folder.name} {self.minutes:6.1f} min  step {self.step:6d}  loss {recent:.4f}", flush=True)
                shown = self.minutes
            if self.minutes - saved > self.run.save_every:
                self.save()
                saved = self.minutes
        self.save()

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(0.999, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where it is fast: CUDA, and processors with AMX."""
    if device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_amx_tile_supported()):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def compiled(module: nn.Module, device: torch.device) -> Callable[..., object]:
    return torch.compile(module) if device.type == "cuda" else module


def averaged(work: Path, stage: str, prefix: str, device: torch.device) -> dict[str, Tensor]:
    """The averaged weights of one module of a stage's checkpoint."""
    found = checkpoint.load(work / stage, device)
    if found is None:
        raise FileNotFoundError(f"stage {stage!r} has no checkpoint in {work}; train it first")
    start = f"average/{prefix}."
    return {key.removeprefix(start): tensor for key, tensor in found[0].items() if key.startswith(start)}


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
    """L1 on pixels and, at three scales, on differences between neighbours: the latter keep edges and grain."""
    loss = F.l1_loss(made, truth)
    for scale in range(3):
        for dim in (-1, -2):
            loss = loss + 0.5 * F.l1_loss(made.diff(dim=dim), truth.diff(dim=dim)) / (scale + 1)
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
    source = pictures(run, min(run.resolution, 128))

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
        return self._fresh() if self.run.shards is None else self._stored(self.run.shards)


def spread(total: list[Tensor], rows: Tensor, residuals: list[Tensor], count: int) -> list[Tensor]:
    """A ControlNet's residuals of some rows, added to the whole batch's; rows without control get none."""
    total = total or [part.new_zeros(count, *part.shape[1:]) for part in residuals]
    return [whole.index_add(0, rows, part.to(whole.dtype)) for whole, part in zip(total, residuals, strict=True)]


def train_diffusion(run: Run) -> None:
    """Text encoder, UNet and both ControlNets at once: with so little to unlearn, order brings nothing."""
    device, size = torch.device(run.device), SIZES[run.size]
    torch.manual_seed(run.seed)
    tokenizer = build_tokenizer()
    modules = _modules(size, device, tokenizer)
    trainer = Trainer(run, "diffusion", modules)
    unet, text = compiled(modules["unet"], device), modules["text_encoder"]
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
        t = torch.randint(0, len(alphas), (count,), generator=generator).to(device)
        a = alphas[t].sqrt()[:, None, None, None]
        s = (1 - alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn(batch.latent.shape, generator=generator).to(device)
        noisy = a * batch.latent + s * noise
        mix = torch.multinomial(torch.tensor(CONTROL_MIX), count, True, generator=generator)
        residuals: list[Tensor] = []
        for only, (name, hint) in enumerate(zip(CONTROLS, (batch.depth, batch.normal), strict=True)):
            rows = torch.nonzero((mix == only) | (mix == 2))[:, 0].to(device)
            if len(rows):
                down, mid = nets[name](noisy[rows], t[rows], words[rows], hint[rows], return_dict=False)
                residuals = spread(residuals, rows, [*down, mid], count)
        extra = {"down_block_additional_residuals": residuals[:-1], "mid_block_additional_residual": residuals[-1]}
        made = unet(noisy, t, words, return_dict=False, **(extra if residuals else {}))[0]
        velocity = a * noise - s * batch.latent
        snr = alphas[t] / (1 - alphas[t])
        weight = snr.clamp(max=5.0) / (snr + 1.0)
        return (weight * (made.float() - velocity).square().mean((1, 2, 3))).mean() / 0.4

    trainer.loop(loss_of)


def _modules(size: Size, device: torch.device, tokenizer: object) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"text_encoder": build_text_encoder(size, tokenizer), "unet": build_unet(size)}
    for name in CONTROLS:
        modules[f"controlnet_{name}"] = build_controlnet(size)
    for name, module in modules.items():
        module.to(device)
        if name != "text_encoder":
            module.to(memory_format=torch.channels_last)
    return modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("vae", "diffusion", "decoder"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--total", type=float, help="minutes of all runs of this stage; default: this run's")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    total = a.minutes if a.total is None else a.total
    run = Run(a.work, a.size, a.minutes, total, a.batch, a.resolution, a.learning_rate, a.shards, a.device, seed=a.seed)
    if a.stage == "diffusion":
        train_diffusion(run)
    else:
        train_vae(run, decoder_only=a.stage == "decoder")


if __name__ == "__main__":
    main()
