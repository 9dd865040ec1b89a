"""Controls of photos, colours and armatures from Blender's list to a real server, previewed and painted along."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import bpy
import numpy as np
import pytest

from .conftest import MODULE, ROOT, SERVER_PYTHON

WRITE = """
import json, shutil
from scumble_server.models.builtin import builtin_folder, ensure_builtin
from scumble_shared.job import CONTROL_KINDS
from scumble_shared.runtime import models_dir
from tests.server.engine.tiny_detectors import write_network

ensure_builtin(builtin_folder())
folder = models_dir() / "controls"
shutil.copytree(builtin_folder() / "controlnet_depth", folder / "any", dirs_exist_ok=True)
(folder / "any" / "scumble_model.json").write_text(json.dumps({"family": "starter", "control_kinds": CONTROL_KINDS}))
write_network(folder / "dpt", "dpt")
"""
"""Run in the server's environment: the starter's depth ControlNet as one for any kind, and a detector of depth."""


@pytest.fixture(scope="module")
def any_kind(addon) -> Iterator[None]:
    """The server finds it when it is asked for, and forgets it afterwards."""
    command = [str(SERVER_PYTHON), "-c", WRITE]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ}, timeout=120)
    yield
    from scumble_shared.runtime import models_dir

    shutil.rmtree(models_dir() / "controls", ignore_errors=True)
    importlib.import_module(f"{MODULE}.state").session().list_models()


@pytest.fixture
def photo(scene) -> bpy.types.Image:
    """White on the left, black on the right."""
    image = bpy.data.images.new("Photo", 64, 48)
    pixels = np.ones((48, 64, 4), np.float32)
    pixels[:, 32:, :3] = 0.0
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def add(scene, kind, source="SCENE", image=None):
    control = scene.scumble.controls.add()
    control.kind, control.source, control.image, control.model = kind, source, image, "any"
    return control


def arm(scene) -> None:
    """Two arms above the plane, stretched out to both sides."""
    thing = bpy.data.objects.new("Person", bpy.data.armatures.new("Person"))
    scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    for name, near, far in (("upper_arm", 0.1, 0.4), ("forearm", 0.4, 0.7), ("hand", 0.7, 0.8)):
        for side, sign in (("L", 1.0), ("R", -1.0)):
            bone = thing.data.edit_bones.new(f"{name}.{side}")
            bone.head, bone.tail = (sign * near, 0.0, 0.2), (sign * far, 0.0, 0.2)
    bpy.ops.object.mode_set(mode="OBJECT")


def test_what_each_control_shows_is_previewed(api, any_kind, scene, photo):
    arm(scene)
    for kind, source, image in (
        ("canny", "PHOTO", photo),
        ("depth", "PHOTO", photo),
        ("depth", "READY", photo),
        ("openpose", "SCENE", None),
        ("tile", "SCENE", None),
    ):
        add(scene, kind, source, image)
    shown = [picture.pixels for picture in api.control_images().prepared.values()]
    canny, depth, ready, pose, tile = shown
    assert {picture.shape for picture in shown} == {(64, 64, 3)}
    columns = np.flatnonzero(canny.any(axis=(0, 2)))
    assert len(columns) > 0
    assert abs(columns - 31.5).max() <= 1.5
    assert depth.max() > 200
    assert (ready[:, :30] == 255).all()
    assert not ready[:, 34:].any()
    # The camera looks straight down: x is to the right, and the person's left hand with it.
    hands = [{tuple(color) for color in pose[30:34, side : side + 4].reshape(-1, 3)} for side in (52, 8)]
    assert [(0, 255, 85) in hands[0], (170, 255, 0) in hands[1]] == [True, True]
    assert tile.std() < 20  # a plane, evenly lit
    assert tile.mean() > 20


def test_a_picture_goes_by_a_photo_and_the_next_one_does_not(api, any_kind, scene, photo):
    scene.scumble.use_default_controls = False
    before = api.generate().prepared["image/0"].pixels
    control = add(scene, "canny", "PHOTO", photo)
    record = api.generate()
    assert (record.prepared["image/0"].pixels != before).any()
    assert record.job.controls[0].detector == "auto"
    control.enabled = False
    assert (api.generate().prepared["image/0"].pixels == before).all()


def test_what_nothing_can_find_is_told_with_what_to_get(api, any_kind, scene, photo):
    from scumble_shared.errors import ErrorCode, ScumbleError

    add(scene, "normal", "PHOTO", photo)
    with pytest.raises(ScumbleError) as caught:
        api.generate()
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert "scumble download get" in caught.value.info.remedy.label


def test_a_texture_is_painted_along_a_pose_and_what_is_there(api, any_kind, scene):
    arm(scene)
    add(scene, "openpose")
    record = api.texture_around([scene.objects["Plane"]], cameras=[scene.camera])
    assert len(record.job.poses) == 1
    scene.scumble.controls[0].kind = "tile"
    again = api.texture_around([scene.objects["Plane"]], cameras=[scene.camera], unseen="KEEP")
    assert len(again.job.base) == 1
    names = [name for name in record.prepared if name.startswith("view/")]
    assert any((record.prepared[name].pixels != again.prepared[name].pixels).any() for name in names)
