"""Objects textured all around in Blender, through a real server."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest


def pixels_of(image):
    """Blender's pixels as uint8 H x W x 4, top row first."""
    width, height = image.size
    values = np.zeros(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255.0).astype(np.uint8)


@pytest.fixture
def around(addon):
    """A part of the add-on by its name."""
    return lambda name: importlib.import_module(f"{addon.__name__}.{name}")


@pytest.fixture
def cube(scene):
    """In place of the square: a cube, textured in seconds."""
    bpy.data.objects.remove(bpy.data.objects["Plane"])
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    bpy.ops.ed.undo_push(message="Cube")
    return bpy.context.object


def test_a_cube_gets_a_new_material_with_its_texture_and_keeps_the_old(api, scene, cube):
    old = bpy.data.materials.new("Old")
    cube.data.materials.append(old)
    record = api.texture_around([cube])
    assert record.state == "done"
    assert len(record.job.views) >= 8
    texture = bpy.data.images["Scumble Cube"]
    assert tuple(texture.size) == (64, 64)
    assert (pixels_of(texture) == record.prepared["texture/Cube"].pixels).all()
    assert cube.active_material is not old
    assert cube.active_material.name == "Scumble Cube"
    assert old.use_fake_user
