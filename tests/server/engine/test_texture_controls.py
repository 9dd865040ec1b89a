"""Controls of texture jobs that are made of more than geometry: what is painted already, and how people stand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.texture_views import WorkView, control_images
from scumble_server.texturing.base import Base
from scumble_server.texturing.shapes import torus
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control

from .test_openpose import t_pose
from .test_texture import TENSORS, camera, job, run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MESH = torus(rings=12, segments=24).mesh()
VIEWS = [WorkView(camera(azimuth), "", "") for azimuth in (0.0, 120.0)]
GREY = 128


def base(alpha: int = 255, dtype=np.uint8) -> Base:
    """The upper half of the texture is red, the lower blue."""
    image = np.zeros((64, 64, 4), dtype)
    most = np.iinfo(dtype).max
    image[:32, :, 0], image[32:, :, 2], image[..., 3] = most, most, alpha * (most // 255)
    return Base(image, None)


def hits() -> list[np.ndarray]:
    """Where the views show the mesh."""
    (ids,) = control_images([Control("segmentation")], [MESH], VIEWS)
    return [(image != (6, 230, 230)).any(axis=-1) for image in ids]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tile_shows_what_is_painted_on_the_meshes_as_each_view_sees_it(dtype):
    (images,) = control_images([Control("tile")], [MESH], VIEWS, bases=[base(dtype=dtype)])
    assert images.shape == (2, 64, 64, 3)
    for image, hit in zip(images, hits(), strict=True):
        assert (image[~hit] == GREY).all()
        shown = {tuple(color) for color in image[hit]}
        assert {(255, 0, 0), (0, 0, 255)} <= shown
        assert not image[hit][:, 1].any()


def test_where_nothing_is_painted_it_is_grey():
    (images,) = control_images([Control("tile")], [MESH], VIEWS, bases=[base(alpha=0)])
    assert (abs(images.astype(int) - GREY) <= 1).all()


def test_without_anything_painted_it_is_told(models_folder):
    with pytest.raises(ScumbleError) as caught:
        control_images([Control("tile")], [MESH], VIEWS, bases=[None])
    assert caught.value.code is ErrorCode.INVALID_FIELD


def test_poses_are_drawn_for_each_view_and_hidden_by_the_meshes():
    poses = [t_pose()]
    (images,) = control_images([Control("openpose")], [MESH], VIEWS, poses)
    assert images.shape == (2, 64, 64, 3)
    assert (images[0] != images[1]).any()
    with pytest.raises(ScumbleError) as caught:
        control_images([Control("openpose")], [MESH], VIEWS, [t_pose(x=99.0)])
    assert (caught.value.code, caught.value.info.remedy.argument) == (ErrorCode.SCENE, "0")


def test_a_texture_is_painted_along_what_is_there(models_folder, tmp_path):
    shutil.copytree(models_folder / "tiny" / "controlnet_depth", tmp_path / "keeper")
    said = {"family": "starter", "control_kinds": ["tile", "color", "openpose"]}
    (tmp_path / "keeper" / "scumble_model.json").write_text(json.dumps(said))
    executor = EngineExecutor((models_folder, tmp_path), "cpu")
    tensors = {**TENSORS, "base": base().image[::2, ::2]}
    plain = run(executor, job(base=("base",)), tensors)
    for kind in ("tile", "color", "openpose"):
        steered = run(executor, job(base=("base",), controls=(Control(kind),), poses=(t_pose(),)), tensors)
        assert (steered.tensors["view/0"] != plain.tensors["view/0"]).any(), kind
    assert torch.is_inference_mode_enabled() is False
