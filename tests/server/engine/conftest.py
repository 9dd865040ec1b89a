"""A real, tiny model (diffusers and transformers classes, random weights) and hooks that remember what they heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from scumble_server.engine.device import Device
from scumble_server.engine.families import family_of
from scumble_server.engine.family import LoadedControlNet, LoadedModel
from scumble_server.models.entries import ControlNetEntry, ModelEntry
from scumble_server.models.scan import scan
from scumble_server.models.seeded import write_seeded_model
from scumble_server.service import JobCancelled

from .support_table import Plugin
from .tiny_families import write_flux, write_sd3, write_sdxl


def pytest_addoption(parser):
    parser.addoption("--support-table", type=Path, help="write the support table of what was shown to this file")


def pytest_configure(config):
    config.addinivalue_line("markers", "supports(row, family, equal): which cell of docs/support.md this test shows")
    if path := config.getoption("--support-table", None):
        config.pluginmanager.register(Plugin(path, config.option.collectonly))


CPU = Device(torch.device("cpu"), torch.float32, "CPU")
"""The reference precision; what resolve_device() chooses depends on the processor."""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory) -> Path:
    """ "tiny" has 4 input channels, "tiny-inpainting" 9."""
    folder = tmp_path_factory.mktemp("models")
    write_seeded_model(folder / "tiny")
    write_seeded_model(folder / "tiny-inpainting", seed=1, in_channels=9)
    return folder


@pytest.fixture(scope="session")
def entries(models_folder) -> dict[str, ModelEntry]:
    return {entry.id: entry for entry in scan((models_folder,), builtin=False).models}


@pytest.fixture(scope="session")
def tiny(entries) -> LoadedModel:
    return family_of("starter").load_model(entries["tiny"], CPU)


@pytest.fixture(scope="session")
def tiny_inpainting(entries) -> LoadedModel:
    return family_of("starter").load_model(entries["tiny-inpainting"], CPU)


@dataclass
class Hooks:
    """cancel_after: the number of steps after which the job is cancelled."""

    looking: bool = True
    cancel_after: int | None = None
    stages: list[tuple[str, int, int, float | None]] = field(default_factory=list)
    previews: list[np.ndarray] = field(default_factory=list)

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        self.stages.append((stage, step, steps, fraction))

    def wants_preview(self) -> bool:
        return self.looking

    def preview(self, image: np.ndarray, step: int, steps: int) -> None:
        self.previews.append(image)

    def check_cancelled(self) -> None:
        steps_done = sum(stage == "denoising" for stage, *_ in self.stages)
        if self.cancel_after is not None and steps_done >= self.cancel_after:
            raise JobCancelled


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


def picture(seed: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A smooth random picture, uint8 H x W x 3."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (smooth[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


@dataclass(frozen=True)
class Example:
    """A family's model and ControlNets as the engine has them, and where they lie."""

    family: str
    folder: Path
    model: LoadedModel
    nets: dict[str, LoadedControlNet]


def load_example(family: str, folder: Path) -> Example:
    model = family_of(family).load_model(ModelEntry(family, family, family, folder), CPU)
    nets = {}
    for path in sorted(folder.glob("controlnet_*")):
        kind = path.name.removeprefix("controlnet_")
        nets[kind] = family_of(family).load_controlnet(ControlNetEntry(kind, kind, family, (kind,), path), model)
    return Example(family, folder, model, nets)


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory) -> dict[str, Path]:
    """Where tiny models of the other families lie."""
    folder = tmp_path_factory.mktemp("families")
    writers = {"sdxl": write_sdxl, "sd3": write_sd3, "flux": write_flux}
    for name, write in writers.items():
        write(folder / name)
    return {name: folder / name for name in writers}


@pytest.fixture(scope="session")
def families(family_folders) -> dict[str, Example]:
    return {name: load_example(name, folder) for name, folder in family_folders.items()}
