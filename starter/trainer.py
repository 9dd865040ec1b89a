"""What every stage shares: the clock, the optimiser, the averaged weights, checkpoints and number formats."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import checkpoint
import torch
from torch import Tensor, nn

__all__ = ["FINAL", "Run", "Trainer", "autocast", "averaged", "compiled"]

FINAL = "final"
"""Folder of the packed result: the averaged weights of all networks in half precision."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one invocation is asked to do. work: folder of all state. total: minutes over which the learning rate
    falls, all runs together. resolution: of samples, pixels; crop: of the window of them that is trained on.
    save_every: minutes between checkpoints. captured: folder of captured views, which take captured_share of each
    batch that is made afresh. painted: share of a decoder's batches whose latents are painted again (painted.py)."""

    work: Path
    size: str
    minutes: float
    total: float
    batch: int
    resolution: int
    crop: int
    learning_rate: float
    shards: Path | None = None
    device: str = "cpu"
    save_every: float = 3.0
    seed: int = 0
    captured: Path | None = None
    captured_share: float = 0.0
    painted: float = 0.0


class Trainer:
    """One optimiser with its average, clock and checkpoints; the loop of every stage."""

    def __init__(self, run: Run, name: str, modules: dict[str, nn.Module]) -> None:
        self.run, self.folder = run, run.work / name
        self.device = torch.device(run.device)
        self.modules = modules
        self.parameters = {
            f"{part}.{key}": parameter
            for part, module in modules.items()
            for key, parameter in module.named_parameters()
        }
        self.average = {key: parameter.detach().clone() for key, parameter in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=run.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3,
            fused=True,
        )  # fmt: skip
        self.step, self.minutes = 0, 0.0
        self._resume()

    def _resume(self) -> None:
        found = checkpoint.load(self.folder, self.device)
        if found is None:
            self._start_from_final()
            return
        tensors, facts = found
        self.step, self.minutes = facts["step"], facts["minutes"]
        with torch.no_grad():
            for key, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{key}"])
                self.average[key].copy_(tensors[f"average/{key}"])
                state = {name: tensors.get(f"{name}/{key}") for name in ("exp_avg", "exp_avg_sq")}
                if all(moment is not None for moment in state.values()):
                    self.optimiser.state[parameter] = {**state, "step": torch.tensor(float(self.step))}

    @torch.no_grad()
    def _start_from_final(self) -> None:
        """On a machine that has no training state but the packed result of an earlier one, go on from that."""
        found = checkpoint.load(self.run.work / FINAL, self.device)
        if found is not None and found[1]["size"] == self.run.size:
            for key, parameter in self.parameters.items():
                parameter.copy_(found[0][f"average/{key}"])
                self.average[key].copy_(parameter)

    def save(self) -> None:
        """Weights, their average, and the optimiser's two moments."""
        tensors: dict[str, Tensor] = {}
        for key, parameter in self.parameters.items():
            tensors[f"weight/{key}"], tensors[f"average/{key}"] = parameter, self.average[key]
            for name, moment in self.optimiser.state.get(parameter, {}).items():
                if name.startswith("exp_avg"):
                    tensors[f"{name}/{key}"] = moment
        checkpoint.save(self.folder, tensors, {"step": self.step, "minutes": self.minutes, "size": self.run.size})

    def loop(self, loss_of: Callable[[], Tensor]) -> None:
        """Steps until the time is up."""
        begin, base = time.monotonic(), self.minutes
        saved, shown, recent, first = base, base, 0.0, self.step
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
            recent += (float(loss.detach()) - recent) * max(0.02, 1.0 / (self.step - first))
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
    found = checkpoint.load(work / stage, device) or checkpoint.load(work / FINAL, device)
    if found is None:
        raise FileNotFoundError(f"stage {stage!r} has no checkpoint in {work}; train it first")
    start = f"average/{prefix}."
    return {key.removeprefix(start): tensor.float() for key, tensor in found[0].items() if key.startswith(start)}
