"""Reference pictures from Blender's list to a real server, in pictures and in textures, and textures once more."""

from __future__ import annotations

import json
import os
import subprocess

import bpy
import numpy as np
import pytest

from .conftest import ROOT, SERVER_PYTHON

WRITE = """
import json, sys
from pathlib import Path
from diffusers import UNet2DConditionModel
from scumble_server.models.builtin import builtin_folder, ensure_builtin
from scumble_shared.runtime import models_dir
from tests.server.engine.tiny_adapters import write_adapter, write_encoder

ensure_builtin(builtin_folder())
folder = models_dir() / "references"
write_encoder(folder / "image_encoder")
unet = UNet2DConditionModel.from_pretrained(builtin_folder() / "unet")
write_adapter(folder / "ip-adapter_starter.safetensors", unet)
(folder / "ip-adapter_starter.json").write_text(json.dumps({"family": "starter"}))
"""
"""Run in the server's environment: an adapter with random weights for the starter model."""


@pytest.fixture
def adapter(api) -> None:
    """The server finds it when it is asked for."""
    command = [str(SERVER_PYTHON), "-c", WRITE]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ}, timeout=120)


@pytest.fixture
def moss(scene) -> bpy.types.Image:
    image = bpy.data.images.new("Moss", 24, 16)
    pixels = np.random.default_rng(1).random((16, 24, 4), np.float32)
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def shown(scene, image):
    entry = scene.scumble_references.pictures.add()
    entry.image, entry.weight = image, 1.0
    return entry


def test_a_picture_goes_by_another_and_the_next_one_does_not(api, adapter, scene, moss):
    before = api.generate().prepared["image/0"].pixels
    entry = shown(scene, moss)
    record = api.generate()
    assert np.abs(record.prepared["image/0"].pixels.astype(int) - before).mean() > 1
    (reference,) = record.job.references
    assert reference.image in record.tensors
    entry.enabled = False
    assert (api.generate().prepared["image/0"].pixels == before).all()


def test_a_texture_and_the_same_texture_once_more(api, adapter, scene, moss):
    from scumble_shared.errors import ScumbleError

    entry = shown(scene, moss)
    thing = scene.objects["Plane"]
    first = api.texture_around([thing], views={"AUTOMATIC"}, texture_size=32)
    assert len(first.job.references) == 1
    kept = json.loads(thing.scumble_texture.recipe)
    assert kept["references"][0]["image"] == first.job.references[0].image
    again = api.texture_again(thing)
    assert (again.prepared["view/0"].pixels == first.prepared["view/0"].pixels).all()
    entry.image = None
    with pytest.raises(ScumbleError, match="isn't in the list"):
        api.texture_again(thing)


def test_a_broken_picture_is_told_before_anything_is_sent(api, adapter, scene, moss, tmp_path):
    from scumble_shared.errors import ScumbleError

    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    bpy.ops.scumble.reference_open(filepath=str(path))
    with pytest.raises(ScumbleError, match="missing or damaged"):
        api.generate()
    scene.scumble_references.pictures.clear()
    assert api.generate().prepared
