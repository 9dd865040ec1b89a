"""Every kind of control steers every family: of the scene, and of a photo where it can be found without a model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scumble_server.engine.executor import EngineExecutor
from scumble_server.service import Executor
from scumble_shared.detectors import SUGGESTED_DETECTORS
from scumble_shared.job import CONTROL_KINDS, Control, GenerateJob, View
from scumble_shared.tensor import digest_of

from .conftest import Hooks, picture
from .test_conditioning import sphere
from .test_openpose import t_pose, view
from .tiny_detectors import write_marigold, write_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]
FAMILIES = ("sd15", "sdxl", "sd3", "flux")
SIDE = 64
DETECTORS = {"depth": "dpt", "segmentation": "segformer", "openpose": "vitpose"}


@pytest.fixture(scope="module")
def executor(models_folder, family_folders, tmp_path_factory) -> Executor:
    """Each family's model, with one ControlNet that takes any kind; and a detector for each kind that wants one."""
    library = tmp_path_factory.mktemp("library")
    folders = {"sd15": models_folder / "tiny", **family_folders}
    for family, folder in folders.items():
        (library / family).symlink_to(folder, target_is_directory=True)
        shutil.copytree(folder / "controlnet_depth", library / f"{family}-net")
        said = {"family": "starter" if family == "sd15" else family, "control_kinds": CONTROL_KINDS}
        (library / f"{family}-net" / "scumble_model.json").write_text(json.dumps(said))
    for name in DETECTORS.values():
        write_network(library / name, name)
    write_marigold(library / "normals", "normals")
    shutil.rmtree(library / "normals-parts")
    return EngineExecutor((library,), "cpu")


def scene() -> tuple[View, dict[str, np.ndarray]]:
    """A sphere with colours, and a person before it."""
    eye = view(side=SIDE)
    ball = sphere(eye)
    colors = np.dstack([picture(7, SIDE, SIDE), np.full((SIDE, SIDE), 255, np.uint8)])
    buffers = {"depth": ball.depth, "normal": ball.normal, "object_id": ball.object_id, "color": colors}
    names = {name: digest_of(array) for name, array in buffers.items()}
    person = t_pose(y=-3.0)
    return View(eye, poses=(person,), **names), {names[name]: array for name, array in buffers.items()}


def painted(executor: Executor, family: str, *controls: Control, photo: bool = False) -> np.ndarray:
    seen, tensors = scene()
    if photo:
        seen, tensors = None, {digest_of(shot): shot for shot in (picture(9, 48, SIDE),)}
        controls = tuple(Control(c.kind, c.model, next(iter(tensors)), detector="auto") for c in controls)
    job = GenerateJob(
        "a brick wall",
        model=family,
        width=SIDE,
        height=SIDE,
        sampler="euler",
        num_inference_steps=2,
        controls=controls,
        view=seen,
    )
    return executor.run(job, tensors, Hooks()).tensors["image/0"]


@pytest.fixture(scope="module")
def plain(executor) -> dict[str, np.ndarray]:
    return {family: painted(executor, family) for family in FAMILIES}


@pytest.mark.supports("control, {kind}")
@pytest.mark.parametrize("kind", CONTROL_KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_of_the_scene(executor, plain, family, kind):
    steered = painted(executor, family, Control(kind, f"{family}-net"))
    assert (steered != plain[family]).any()


@pytest.mark.supports("control, found in photos and paintings")
@pytest.mark.parametrize("kind", ["canny", *SUGGESTED_DETECTORS])
@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_photo(executor, plain, family, kind):
    assert (painted(executor, family, Control(kind, f"{family}-net"), photo=True) != plain[family]).any()
