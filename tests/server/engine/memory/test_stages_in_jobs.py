"""In every kind of job, what runs is on the device when it does: shown without one, by what is said to be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.families import loading
from scumble_server.engine.family import LoadedModel
from scumble_server.memory.machine import GIB, Machine
from scumble_server.texturing.shapes import torus
from scumble_server.texturing.views import place
from scumble_shared.camera import pack_matrix
from scumble_shared.job import Control, GenerateJob, Job, Lora, MeshRef, Region, TextureJob, TextureView, UpscaleJob

from ..conftest import Hooks, picture

APART = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB)
SHAPE = torus(rings=12, segments=24)
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs")
CAMERAS = [place([SHAPE.mesh()], azimuth, 20.0, (64, 64)).camera for azimuth in (0.0, 180.0)]
VIEWS = tuple(TextureView(camera) for camera in CAMERAS)
TENSORS = {
    "vertices": SHAPE.vertices,
    "triangles": SHAPE.triangles,
    "normals": SHAPE.normals,
    "uvs": SHAPE.uvs,
    "image": picture(1),
    "mask": np.eye(64, dtype=np.uint8) * 255,
}
FAMILIES = ("sd15", "sdxl", "sd3", "flux")
SOME = {"num_inference_steps": 2, "sampler": "euler", "memory": "low"}
DEPTH = (Control("depth"),)


def jobs(model: str) -> dict[str, Job]:
    """Each with words of its own: prompts that are known aren't encoded again."""
    shown = (Control("depth", image="image"),)
    base = {"model": model, **SOME}
    size = {"width": 64, "height": 64}
    texture = {**base, "views": VIEWS, "texture_size": 32, "controls": DEPTH}
    return {
        "text-to-image": GenerateJob("a wall, text-to-image", **base, **size, controls=shown, batch_size=2),
        "inpaint": GenerateJob(
            "a wall, inpaint", **base, **size, init_image="image", mask="mask", denoising_strength=0.6
        ),
        "regions": GenerateJob(
            "a wall, regions", **base, **size, controls=shown, regions=(Region("moss", mask="mask"),)
        ),
        "draft": GenerateJob("a wall, draft", **base, **size, controls=shown, quality="draft"),
        "together": TextureJob("a wall, together", (MESH,), **texture, refine_strength=0.5),
        "one by one": TextureJob("a wall, one by one", (MESH,), **texture, method="sequential", extra_views=1),
        "enlarge": UpscaleJob("image", prompt="a wall, enlarged", **base, tile_size=64, tile_overlap=16),
    }


@pytest.fixture(scope="module")
def executor(models_folder, family_folders) -> Iterator[EngineExecutor]:
    """Tiny decoders draw previews and stay; those of released models, and these here, come and go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "CHEAP_DECODER", 0)
        yield EngineExecutor((models_folder, family_folders["sdxl"].parent), "cpu", machine=APART)


@contextmanager
def watched(executor: EngineExecutor) -> Iterator[Counter[str]]:
    """Counts what ran in which stage; what ran while another was on the device is an error."""
    ran: Counter[str] = Counter()

    def check(module: Any, arguments: Any, made: Any) -> None:
        for loaded in (held.loaded for held in executor._resident._models.values()):
            if isinstance(loaded, LoadedModel) and (stages := loaded.room.stages) is not None:
                for stage, parts in stages.parts.items():
                    inner = [getattr(part, name, None) for part in parts for name in ("encoder", "decoder")]
                    if any(module is part for part in (*parts, *inner)):
                        assert stages.now == stage, f"{type(module).__name__} ran in {stages.now}"
                        ran[stage] += 1

    handle = torch.nn.modules.module.register_module_forward_hook(check)
    try:
        yield ran
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", jobs(""))
@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_there_when_they_run(executor, family, kind):
    wanted = jobs({"sd15": "tiny"}.get(family, family))[kind]
    with watched(executor) as ran:
        output = executor.run(wanted, TENSORS, Hooks())
    assert output.provenance["memory"]["done"].startswith("parts come and go")
    assert set(ran) == {"text", "network", "autoencoder"}


def test_a_prompt_that_is_known_moves_nothing(executor):
    wanted = jobs("tiny")["text-to-image"]
    executor.run(wanted, TENSORS, Hooks())
    with watched(executor) as ran:
        executor.run(wanted, TENSORS, Hooks())
    assert ran["text"] == 0


def test_models_that_take_turns_leave_the_device(executor):
    for model in ("tiny", "sdxl", "tiny"):
        with watched(executor) as ran:
            executor.run(jobs(model)["text-to-image"], TENSORS, Hooks())
        assert ran["network"] > 0


def test_loras_are_added_wherever_weights_lie(executor):
    """None is there, so the job is refused; the one after it isn't touched by that."""
    before = executor.run(jobs("tiny")["text-to-image"], TENSORS, Hooks()).tensors["image/0"]
    wanted = GenerateJob("a wall", model="tiny", loras=(Lora("none", 1.0),), **SOME)
    with pytest.raises(Exception, match="no LoRA"):
        executor.run(wanted, TENSORS, Hooks())
    after = executor.run(jobs("tiny")["text-to-image"], TENSORS, Hooks()).tensors["image/0"]
    assert np.array_equal(before, after)
