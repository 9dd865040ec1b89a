"""Automatic cameras frame the object, see nearly all of it, and know what their side is called."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scumble_server.texturing.mesh import make_mesh
from scumble_server.texturing.shapes import cube, plane, torus, uv_sphere
from scumble_server.texturing.views import automatic_views, coverage, place, surface_samples

torch.set_num_threads(1)


@pytest.mark.parametrize("ortho", [False, True])
@pytest.mark.parametrize("size", [(256, 256), (320, 160), (128, 300)])
def test_the_object_fills_the_frame_without_leaving_it(ortho: bool, size: tuple[int, int]) -> None:
    shape = uv_sphere(2.0)
    matrix = np.eye(4)
    matrix[:3, 3] = (100.0, -50.0, 7.0)
    mesh = make_mesh("far", shape.vertices, shape.triangles, shape.normals, shape.uvs, matrix_world=matrix)
    for azimuth, elevation in ((0.0, 30.0), (135.0, -30.0), (10.0, 90.0), (0.0, -90.0)):
        view = place([mesh], azimuth, elevation, size, ortho=ortho)
        pixels, depth = view.camera.project(mesh.vertices.numpy())
        spans = pixels.max(0) - pixels.min(0)
        assert pixels.min() >= 0.0
        assert (pixels <= size).all()
        assert spans.min() > 0.85 * min(size)
        assert depth.min() > view.camera.near
        assert depth.max() < view.camera.far


def test_azimuth_zero_is_blenders_front_and_turns_to_the_right() -> None:
    mesh = cube().mesh()
    np.testing.assert_allclose(place([mesh], 0.0, 0.0).camera.forward, (0, 1, 0), atol=1e-9)
    np.testing.assert_allclose(place([mesh], 90.0, 0.0).camera.forward, (-1, 0, 0), atol=1e-9)
    assert place([mesh], 0.0, 90.0).camera.forward[2] == pytest.approx(-1.0)


def test_sides_have_names() -> None:
    mesh = cube().mesh()
    words = [place([mesh], azimuth, 0.0).words for azimuth in (0, 45, 90, 180, 270, 315, 359)]
    assert words == [
        "front view",
        "three-quarter front view",
        "side view",
        "back view",
        "side view",
        "three-quarter front view",
        "front view",
    ]
    assert place([mesh], 0.0, 90.0).words == "top view"
    assert place([mesh], 0.0, -80.0).words == "bottom view"


def test_coverage_of_a_sphere_is_that_of_its_caps() -> None:
    """From distance d a unit sphere shows cos > c where its points' angle to the axis is below a closed form."""
    mesh = uv_sphere(1.0, 96, 192).mesh()
    view = place([mesh], 0.0, 0.0)
    distance = float(np.linalg.norm(view.camera.position))
    c = 0.2
    # cos of the angle at the surface point p on axis angle t: (d cos t - 1) / sqrt(d² - 2 d cos t + 1) = c.
    t = np.linspace(0.0, math.pi, 200001)
    cosine = (distance * np.cos(t) - 1.0) / np.sqrt(distance**2 - 2 * distance * np.cos(t) + 1.0)
    cap = (1.0 - np.cos(t[np.argmax(cosine < c)])) / 2.0
    assert coverage([mesh], [view.camera], c) == pytest.approx(cap, abs=0.005)


def test_eight_views_see_all_of_simple_shapes() -> None:
    for shape in (uv_sphere(), cube()):
        views, share = automatic_views([shape.mesh()], (256, 256))
        assert len(views) == 8
        assert share > 0.98
        assert [v.elevation for v in views] == [30.0, -30.0] * 4


def test_views_are_added_while_they_show_something_new() -> None:
    """A deep well with a floor half-way down: eight views from the sides miss it, one from above sees it."""
    shape, floor = torus(1.0, 0.4), plane(0.85)
    flat = floor.vertices[:, [0, 2, 1]] * np.float32([1, 1, 0])
    wall = make_mesh("wall", shape.vertices * np.float32([1, 1, 3]), shape.triangles, shape.normals, shape.uvs)
    normals = np.broadcast_to(np.float32([0, 0, 1]), floor.normals.shape)
    bottom = make_mesh("floor", flat, floor.triangles, normals, floor.uvs, object_id=2)
    fixed = [place([wall, bottom], 45.0 * j, 30.0 * (-1) ** j).camera for j in range(8)]
    views, share = automatic_views([wall, bottom], (256, 256))
    assert len(views) > 8
    assert any(abs(view.elevation) > 60.0 for view in views[8:])
    assert share >= coverage([wall, bottom], fixed) + 0.01


def test_samples_are_spread_by_area() -> None:
    small, large = uv_sphere(1.0).mesh(), uv_sphere(3.0).mesh()
    (few, _), (many, _) = surface_samples([small, large], 10000)
    assert len(many) == pytest.approx(9 * len(few), rel=0.01)
    assert abs(float(many.position.mean(1).norm())) < 0.03
