"""What can't be captured is refused by name, with what to do about it."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
import pytest
from capture import scenes
from scumble_shared.errors import ErrorCode, ScumbleError

from blender_addon import capture


def refusal(**options) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        capture.capture_camera(bpy.context.scene, **{"width": 16, "height": 16, **options})
    return caught.value


def test_an_empty_scene(method):
    scenes.add_camera()
    error = refusal(method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "view")


def test_a_scene_of_hidden_things(method):
    scenes.add_box(1.0).hide_render = True
    scenes.add_camera()
    assert refusal(method=method).code is ErrorCode.SCENE


def test_looking_away_is_no_error(method):
    scenes.add_box(1.0)
    scenes.add_camera(eye=(5, 0, 0), target=(10, 0, 0))
    frame = capture.capture_camera(bpy.context.scene, width=16, height=16, method=method)
    assert np.isinf(frame.depth).all()
    assert [entry.name for entry in frame.objects] == ["Box"]


def test_more_surfaces_than_ids(gpu):
    grid = scenes.add_mesh("Grid", lambda b: bmesh.ops.create_grid(b, x_segments=256, y_segments=256, size=2.0))
    scenes.instance_on_points(grid, scenes.add_box(0.01))
    scenes.add_camera()
    error = refusal(method=gpu)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "view")
    assert "65534" in error.info.message


def test_no_camera(method):
    scenes.add_box(1.0)
    error = refusal(method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "camera")
    assert "add one" in error.info.message


def test_a_panoramic_camera(method):
    scenes.add_box(1.0)
    scenes.add_camera(type="PANO")
    error = refusal(method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "camera")
    assert "anoramic" in error.info.message


def test_a_camera_shrunk_to_nothing(method):
    scenes.add_box(1.0)
    scenes.add_camera().scale = (0.0, 0.0, 0.0)
    error = refusal(method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "camera")


@pytest.mark.parametrize(("width", "height"), [(-1, 16), (16, -5), (16385, 16), (16, 100_000)])
def test_impossible_sizes(method, width, height):
    scenes.add_box(1.0)
    scenes.add_camera()
    error = refusal(width=width, height=height, method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "size")


@pytest.mark.parametrize("size", [(0, 16), (16, 0), (0, 0)])
def test_no_pixels(method, size):
    scenes.add_box(1.0)
    scenes.add_camera()
    error = refusal(width=size[0], height=size[1], method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "size")


def test_an_empty_border(method):
    scenes.add_box(1.0)
    scenes.add_camera()
    render = bpy.context.scene.render
    render.use_border = True
    render.border_min_x = render.border_max_x = 0.5
    error = refusal(method=method)
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "camera")
    assert "border" in error.info.message


@pytest.mark.parametrize("buffers", [set(), {"depth", "albedo"}])
def test_unknown_buffers(empty_scene, buffers):
    scenes.add_box(1.0)
    scenes.add_camera()
    error = refusal(buffers=buffers)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "buffers")


def test_unknown_methods(empty_scene):
    scenes.add_box(1.0)
    scenes.add_camera()
    error = refusal(method="eevee")
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "method")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_matrices_that_aren_t_finite(method, value):
    scenes.add_box(1.0)
    view = np.eye(4)
    view[0, 3] = value
    with pytest.raises(ScumbleError) as caught:
        capture.capture_matrices(bpy.context.evaluated_depsgraph_get(), view, np.eye(4), 8, 8, method=method)
    assert (caught.value.code, caught.value.info.field) == (ErrorCode.SCENE, "camera")
