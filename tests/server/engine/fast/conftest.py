"""The tiny model with both its ControlNets, and jobs run plainly or as an assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from scumble_server.engine.denoise import denoise
from scumble_server.engine.extensions.controls import ActiveControl, Controls
from scumble_server.engine.families import family_of
from scumble_server.engine.family import LoadedControlNet, LoadedModel
from scumble_server.engine.fast.assembly import Assembly
from scumble_server.engine.fast.graphs import Graphs
from scumble_server.engine.fast.joint import Joint
from scumble_server.engine.fast.sampler import TabledSampler
from scumble_server.engine.fast.saving import Saving
from scumble_server.engine.samplers import make_scheduler

from ..conftest import Hooks, picture

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What a job may change. first, second: of both controls, strength, start and end."""

    prompt: str = "a mossy wall"
    sampler: str = "dpmpp_2m_karras"
    steps: int = 4
    guidance: float = 4.0
    seed: int = 0
    pictures: int = 1
    batch: int = 1
    first: tuple[float, float, float] = (0.8, 0.0, 1.0)
    second: tuple[float, float, float] = (0.5, 0.0, 1.0)


@dataclass
class Bench:
    model: LoadedModel
    nets: Mapping[str, LoadedControlNet]
    plain: dict[Setting, torch.Tensor] = field(default_factory=dict)

    def controls(self, setting: Setting) -> Controls:
        both = ((kind, part) for kind, part in zip(("depth", "normal"), (setting.first, setting.second), strict=True))
        return Controls(
            [
                ActiveControl(self.nets[kind], picture(setting.pictures + place), *part, kind)
                for place, (kind, part) in enumerate(both)
            ]
        )

    def expected(self, setting: Setting) -> torch.Tensor:
        """Of the plain loop, with the model as it is loaded."""
        if setting not in self.plain:
            self.plain[setting] = self.run(setting)
        return self.plain[setting]

    def run(self, setting: Setting, way: str = "plain", saving: Saving | None = None, graphs: Graphs | None = None):
        """Clean latents. way: "plain" is the loop with ControlNets as an extension, "assembly" one network for all,
        "tabled" that with a table for a sampler."""
        model, controls = self.model, self.controls(setting)
        text = model.prompt_encoder.text([setting.prompt], "" if setting.guidance > 1 else None, setting.guidance)
        scheduler = make_scheduler(setting.sampler, model.scheduler_config)
        scheduler.set_timesteps(setting.steps)
        noise = torch.randn(
            setting.batch, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(setting.seed)
        )
        generators = [torch.Generator().manual_seed(setting.seed + 1 + image) for image in range(setting.batch)]
        latents, hooks = noise * scheduler.init_noise_sigma, Hooks(looking=False)
        if way == "plain":
            return denoise(model.network, scheduler, scheduler.timesteps, latents, text, generators, [controls], hooks)
        joint = Joint.of(model.network, controls.runs, CPU)
        network = Assembly(joint, controls, scheduler.timesteps, saving or Saving(), graphs)
        sampler = TabledSampler(scheduler, scheduler.timesteps) if way == "tabled" else scheduler
        return denoise(network, sampler, sampler.timesteps, latents, text, generators, [], hooks)


@pytest.fixture(scope="session")
def bench(tiny) -> Bench:
    family = family_of("starter")
    return Bench(tiny, {kind: family.load_controlnet(entry, tiny) for kind, entry in tiny.entry.controlnets.items()})
