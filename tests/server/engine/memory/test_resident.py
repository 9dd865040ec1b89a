"""Models stay loaded as far as there is room for them beside the work."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
from scumble_server.engine.executor import EngineExecutor
from scumble_server.memory.machine import CONTEXT, GIB, SHARE_OF_RAM, Machine
from scumble_shared.job import Control, GenerateJob

from ..conftest import Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LARGE = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB)


@pytest.fixture
def folders(models_folder, family_folders):
    return (models_folder, family_folders["sdxl"].parent)


def job(model: str) -> GenerateJob:
    controls = (Control("depth", image="image"),)
    return GenerateJob(
        "a wall", model=model, width=64, height=64, num_inference_steps=1, controls=controls, memory="off"
    )


def loads(executor: EngineExecutor, model: str) -> bool:
    hooks = Hooks()
    executor.run(job(model), {"image": picture(1)}, hooks)
    return any(stage == "loading" for stage, *_ in hooks.stages)


def test_with_room_for_both_models_take_turns_without_loading(folders):
    executor = EngineExecutor(folders, "cpu", machine=LARGE)
    assert [loads(executor, model) for model in ("tiny", "sdxl", "tiny", "sdxl")] == [True, True, False, False]


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_without_the_one_before_goes_with_its_controlnet(folders, kind):
    """There is room for the job that takes more, and nothing beside."""
    large = EngineExecutor(folders, "cpu", machine=replace(LARGE, kind=kind))
    needed = [large._needed(job(model)) for model in ("tiny", "sdxl")]
    most = max(large._fitter.fit(one, job(one.entry.id)).estimate.peak.device for one in needed)
    free = most if kind == "cuda" else int(most / SHARE_OF_RAM) + 2
    machine = Machine(kind, 80 * GIB, free, 64 * GIB, free if kind == "cpu" else 64 * GIB)
    executor = EngineExecutor(folders, "cpu", machine=machine)
    assert [loads(executor, model) for model in ("tiny", "sdxl", "tiny", "tiny")] == [True, True, True, False]
    assert len(executor._resident._models) == 2


def test_what_was_replaced_on_disk_is_loaded_anew(folders, tmp_path):
    shutil.copytree(folders[0] / "tiny", tmp_path / "mine")
    executor = EngineExecutor((tmp_path,), "cpu", machine=LARGE)
    assert [loads(executor, "mine") for _ in range(2)] == [True, False]
    weights = next((tmp_path / "mine" / "unet").glob("*.safetensors"))
    later = weights.stat().st_mtime + 10
    os.utime(weights, (later, later))
    assert loads(executor, "mine")


def test_the_room_is_what_is_free_but_for_a_margin():
    machine = Machine("cuda", 8 * GIB, 7 * GIB, 32 * GIB, 16 * GIB)
    assert machine.room.device == 7 * GIB
    assert replace(machine, free=8 * GIB).room.device == 8 * GIB - CONTEXT
    assert machine.room.ram == int(16 * GIB * SHARE_OF_RAM)
