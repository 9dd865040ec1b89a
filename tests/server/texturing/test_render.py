"""The software rasteriser agrees with closed-form planes, spheres and boxes, and with the camera convention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scumble_server.texturing.mesh import make_mesh
from scumble_server.texturing.render import render_view, to_pixels, to_view
from scumble_server.texturing.shapes import cube, plane, uv_sphere
from scumble_shared.camera import Camera, look_at, orthographic, perspective

torch.set_num_threads(1)

EYE = (1.5, -4.0, 2.0)


def shifted(projection: tuple[float, ...]) -> tuple[float, ...]:
    values = list(projection)
    if projection[15] == 1.0:
        values[3], values[7] = 0.2, -0.1
    else:
        values[2], values[6] = 0.2, -0.1
    return tuple(values)


CAMERAS = {
    "perspective": Camera(look_at(EYE, (0, 0, 0)), perspective(0.8, 1.5, 0.1, 50.0), 96, 64, 0.1, 50.0),
    "orthographic": Camera(look_at(EYE, (0, 0, 0)), orthographic(4.5, 3.0, 0.1, 50.0), 96, 64, 0.1, 50.0),
    "shift": Camera(look_at(EYE, (0, 0, 0)), shifted(perspective(0.8, 1.5, 0.1, 50.0)), 96, 64, 0.1, 50.0),
    "ortho shift": Camera(look_at(EYE, (0, 0, 0)), shifted(orthographic(4.5, 3.0, 0.1, 50.0)), 96, 64, 0.1, 50.0),
}


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_pixels_and_depth_are_those_of_the_convention(camera: Camera) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    pixels, depth = camera.project(points)
    view = to_view(torch.from_numpy(points), camera)
    np.testing.assert_allclose(to_pixels(view, camera).numpy(), pixels, atol=1e-9)
    np.testing.assert_allclose(-view[:, 2].numpy(), depth, atol=1e-12)


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_hits_unproject_on_to_the_surface(camera: Camera) -> None:
    visible = render_view([cube(1.0).mesh()], camera)
    hit = torch.isfinite(visible.depth).numpy()
    assert hit.sum() > 200
    world = camera.unproject(camera.pixel_centres()[hit], visible.depth.numpy()[hit])
    np.testing.assert_allclose(np.abs(world).max(1), 0.5, atol=1e-5)
    mesh = cube(1.0).mesh()
    corners = mesh.vertices[mesh.triangles[visible.triangle[hit]]]
    by_weights = (corners * visible.weights[hit].double()[..., None]).sum(1)
    np.testing.assert_allclose(by_weights.numpy(), world, atol=1e-5)


def test_a_plane_square_on_has_its_distance_at_every_pixel() -> None:
    camera = Camera(look_at((0, -3, 0), (0, 0, 0)), perspective(0.5, 1.0, 0.1, 10.0), 32, 32, 0.1, 10.0)
    visible = render_view([plane().mesh()], camera)
    np.testing.assert_allclose(visible.depth.numpy(), 3.0, rtol=1e-6)
    assert bool(visible.front.all())
    behind = Camera(look_at((0, 3, 0), (0, 0, 0)), camera.projection, 32, 32, 0.1, 10.0)
    assert not bool(render_view([plane().mesh()], behind).front.any())


def test_a_sphere_has_its_analytic_outline_and_depth() -> None:
    camera = Camera(look_at((0, -4, 0), (0, 0, 0)), orthographic(2.5, 2.5, 0.1, 10.0), 100, 100, 0.1, 10.0)
    visible = render_view([uv_sphere(1.0, 128, 256).mesh()], camera)
    x, y = np.moveaxis((camera.pixel_centres() / 100 - 0.5) * 2.5, -1, 0)
    r2 = x * x + y * y
    inside = r2 < 0.99
    np.testing.assert_allclose(visible.depth.numpy()[inside], 4.0 - np.sqrt(1.0 - r2[inside]), atol=2e-3)
    assert not torch.isfinite(visible.depth).numpy()[r2 > 1.0].any()


def test_the_nearer_mesh_hides_the_farther() -> None:
    near, far = plane(1.0).mesh("near", 1), uv_sphere(0.4).mesh("far", 2)
    camera = Camera(look_at((0, -4, 0), (0, 0, 0)), orthographic(2, 2, 0.1, 10.0), 64, 64, 0.1, 10.0)
    shape = plane(1.0)
    moved = make_mesh(
        "near", shape.vertices - np.float32([0, 1, 0]), shape.triangles, shape.normals, shape.uvs, object_id=1
    )
    assert int(render_view([far, moved], camera).mesh[32, 32]) == 1
    assert int(render_view([far, near], camera).mesh[32, 32]) == 0


def test_what_crosses_the_near_plane_is_cut_there() -> None:
    """A camera inside a room sees its walls, and nothing of what is behind it."""
    camera = Camera(look_at((0, 0, 0), (0, 1, 0)), perspective(math.pi / 2, 1.0, 0.01, 10.0), 64, 64, 0.01, 10.0)
    visible = render_view([cube(2.0).mesh()], camera)
    assert bool(torch.isfinite(visible.depth).all())
    assert not bool(visible.front.any())
    np.testing.assert_allclose(visible.depth.numpy(), 1.0, rtol=1e-6)
    wide = Camera(camera.view, perspective(2.6, 1.0, 0.01, 10.0), 64, 64, 0.01, 10.0)
    depth = render_view([cube(2.0).mesh()], wide).depth.numpy()
    assert np.isfinite(depth).all()
    ray = np.abs((wide.pixel_centres() / 64 - 0.5) * 2 * math.tan(1.3)).max(-1)
    np.testing.assert_allclose(depth, 1.0 / np.maximum(ray, 1.0), rtol=1e-5)


def test_mirroring_an_object_keeps_its_outside_out() -> None:
    shape = uv_sphere()
    camera = Camera(look_at((0, -4, 0), (0, 0, 0)), orthographic(2.5, 2.5, 0.1, 10.0), 32, 32, 0.1, 10.0)
    matrix = np.diag([-1.0, 1.0, 2.0, 1.0])
    mesh = make_mesh("m", shape.vertices, shape.triangles, shape.normals, shape.uvs, matrix_world=matrix)
    visible = render_view([mesh], camera)
    assert bool(visible.front[visible.mesh >= 0].all())
