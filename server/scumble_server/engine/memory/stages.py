"""Which parts of a model are on the device: all the time, while they work, or a layer at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers.hooks import apply_group_offloading

__all__ = ["Room", "Stage", "Stages", "group"]

Stage = Literal["text", "network", "autoencoder"]

HOME = torch.device("cpu")


@dataclass(slots=True)
class Stages:
    """Parts that come and go. device: where they work. parts: those of each stage; what isn't in any stays where it
    is. Only one stage's parts are on the device at any time."""

    device: torch.device
    parts: Mapping[Stage, Sequence[Any]]
    now: Stage | None = None

    def leave(self) -> None:
        """All parts leave the device."""
        self.now = None
        for modules in self.parts.values():
            for module in modules:
                module.to(HOME)

    def show(self, stage: Stage) -> None:
        """Its parts are on the device when this returns, and the others aren't."""
        if stage == self.now:
            return
        for other, modules in self.parts.items():
            if other != stage:
                for module in modules:
                    module.to(HOME)
        for module in self.parts.get(stage, ()):
            module.to(self.device)
        self.now = stage


@dataclass(slots=True)
class Room:
    """What is done about memory while a job runs. tiled: the autoencoder works in tiles. at_once: images that the
    network is shown at a time, 0 is all. stages: None leaves all parts where they are. is_plain: weights are as they
    were loaded, and stay where they are. told: what was done beside, in words."""

    tiled: bool = False
    at_once: int = 0
    stages: Stages | None = None
    is_plain: bool = True
    told: list[str] = field(default_factory=list)

    def show(self, stage: Stage) -> None:
        """Have its parts on the device, if parts come and go."""
        if self.stages is not None:
            self.stages.show(stage)

    def tell(self, what: str) -> None:
        """Something else was done than was meant; said once."""
        if what not in self.told:
            self.told.append(what)

    def lay(self, tiled: bool, at_once: int, stages: Stages | None, is_plain: bool) -> None:
        """For the job that begins; nothing is left of the one before."""
        if self.stages is not None:
            self.stages.leave()
        self.tiled, self.at_once, self.stages, self.is_plain = tiled, at_once, stages, is_plain
        self.told.clear()


def group(module: torch.nn.Module, device: torch.device) -> None:
    """Have each layer of a module in the computer's memory come to ``device`` while it works; on CUDA the next one
    comes meanwhile."""
    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=HOME,
        offload_type="leaf_level",
        use_stream=device.type == "cuda",
    )
