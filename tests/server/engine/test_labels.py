"""Segmentation shows what objects are said to be, in ADE20K's own colours, and never a mixture of two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scumble_server.engine.conditioning import control_image, segmentation_image, to_bytes, view_buffers
from scumble_server.engine.conditioning.segmentation import BACKGROUND, OBJECTS
from scumble_server.engine.texture_views import WorkView, control_images
from scumble_server.texturing.mesh import load_meshes
from scumble_shared.ade20k import COLOURS, KINDS
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.job import Control, Label, View

from .test_texture import MESH, TENSORS, camera

IDS = np.array([[0, 1, 1, 2], [0, 300, 300, 2]], np.uint16)


def view(*labels: Label) -> View:
    identity = pack_matrix(np.eye(4))
    return View(Camera(identity, identity, 4, 2, 0.1, 9.0), object_id="ids", labels=labels)


def shown(*labels: Label, size: tuple[int, int] = (4, 2)) -> np.ndarray:
    return control_image(Control("segmentation"), view_buffers(view(*labels), {"ids": IDS}), *size)


def test_each_object_has_the_colour_of_what_it_is():
    image = shown(Label(1, "tree"), Label(300, "car"))
    assert tuple(image[0, 1]) == COLOURS["tree"]
    assert tuple(image[1, 1]) == COLOURS["car"]
    assert tuple(image[0, 0]) == COLOURS["sky"] == BACKGROUND
    assert tuple(image[0, 3]) == OBJECTS[1], "those without a label are told apart, as ever"


def test_two_objects_may_be_the_same():
    image = shown(Label(1, "tree"), Label(2, "tree"))
    assert (image[0, 1] == image[0, 3]).all()


def test_labels_of_what_is_not_seen_change_nothing():
    assert (shown(Label(9, "tree")) == shown()).all()


@pytest.mark.parametrize("size", [(7, 5), (3, 1), (64, 64)])
def test_colours_are_never_mixed(size):
    allowed = {COLOURS["tree"], COLOURS["car"], COLOURS["sea"], BACKGROUND}
    image = shown(Label(1, "tree"), Label(2, "sea"), Label(300, "car"), size=size)
    assert {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()} <= allowed


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_arrives_to_the_bit(kind):
    image = to_bytes(segmentation_image(torch.ones(1, 1, 1, dtype=torch.int32), labels=[Label(1, kind)]))
    assert tuple(image[0, 0, 0].tolist()) == COLOURS[kind]


def test_of_views_of_meshes():
    meshes = load_meshes((MESH,), TENSORS, "cpu")
    views = [WorkView(camera(azimuth), "", "") for azimuth in (0.0, 90.0)]
    (pictures,) = control_images((Control("segmentation"),), meshes, views, labels=[Label(MESH.object_id, "fountain")])
    colours = {tuple(pixel) for pixel in pictures.reshape(-1, 3).tolist()}
    assert colours == {COLOURS["fountain"], BACKGROUND}
