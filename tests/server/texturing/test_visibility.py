"""What a view sees: nothing through an occluder, nothing missed, and colours that stay on their own side of an edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scumble_server.texturing.lookup import look, sample
from scumble_server.texturing.mesh import Mesh, make_mesh
from scumble_server.texturing.raster import rasterise
from scumble_server.texturing.render import render_view
from scumble_server.texturing.shapes import Shape, plane, thin_wall, torus, uv_sphere
from scumble_server.texturing.surface import Surface
from scumble_server.texturing.views import render_geometry
from scumble_server.texturing.visibility import depth_edges, soft_border, view_geometry
from scumble_shared.camera import Camera, look_at, orthographic, perspective

torch.set_num_threads(1)

PERSPECTIVE = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(0.5, 1.0, 0.1, 20.0), 256, 256, 0.1, 20.0)
ORTHOGRAPHIC = Camera(look_at((0, -5, 0), (0, 0, 0)), orthographic(2.4, 2.4, 0.1, 20.0), 256, 256, 0.1, 20.0)


def moved(shape: Shape, y: float, object_id: int = 2, scale: float = 1.0) -> Mesh:
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[1, 3] = y
    return make_mesh(
        "m", shape.vertices, shape.triangles, shape.normals, shape.uvs, matrix_world=matrix, object_id=object_id
    )


def seen_texels(mesh: Mesh, others: list[Mesh], camera: Camera, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """World positions (N, 3) of a mesh's texels, and which of them the camera sees."""
    texels = rasterise(mesh, size)
    surface = Surface(mesh, texels)
    points = surface.points(texels.all())
    mask = torch.zeros(len(points), dtype=torch.bool)
    geometry = render_geometry([mesh, *others], camera)
    mask[look(geometry, points, surface.origin).index] = True
    return (points.position + surface.origin[:, None]).numpy().T, mask.numpy()


@pytest.mark.parametrize("camera", [PERSPECTIVE, ORTHOGRAPHIC], ids=["perspective", "orthographic"])
def test_a_sphere_is_seen_up_to_its_horizon(camera: Camera) -> None:
    world, seen = seen_texels(uv_sphere(1.0, 128, 256).mesh(), [], camera)
    to_eye = camera.position - world if not camera.is_orthographic else np.broadcast_to(-camera.forward, world.shape)
    cosine = (world * to_eye).sum(1) / np.linalg.norm(to_eye, axis=1)
    assert seen[cosine > 0.15].all()
    assert not seen[cosine < 0.0].any()


@pytest.mark.parametrize("camera", [PERSPECTIVE, ORTHOGRAPHIC], ids=["perspective", "orthographic"])
def test_a_disc_of_shadow_lies_behind_a_ball_and_nowhere_else(camera: Camera) -> None:
    """Closed form: a plane's point is hidden if its line of sight passes the ball within its radius."""
    ball = np.array([0.0, -2.0, 0.0])
    world, seen = seen_texels(plane().mesh(), [moved(uv_sphere(1.0, 128, 256), -2.0, scale=0.3)], camera, 512)
    eye = np.broadcast_to(camera.position, world.shape) if not camera.is_orthographic else world - 5.0 * camera.forward
    ray = world - eye
    ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    distance = np.linalg.norm(np.cross(ball - eye, ray), axis=1)
    pixel = 0.012  # at the ball, both cameras
    assert not seen[distance < 0.3 - pixel].any()
    inside = np.abs(world).max(1) < 1.0 - pixel  # off the plane's own silhouette
    assert seen[inside & (distance > 0.3 + pixel)].all()
    wrong = (seen == (distance < 0.3))[inside].mean()
    assert wrong < 0.003


def test_paper_thin_walls_do_not_let_paint_through() -> None:
    world, seen = seen_texels(thin_wall(0.002).mesh(), [], PERSPECTIVE, 512)
    inside = np.abs(world).max(1) < 0.98
    front, back = inside & (world[:, 1] < 0.0), world[:, 1] > 0.0009
    assert seen[front].all()
    assert not seen[back].any()


def test_a_single_sided_plane_is_seen_from_behind_too() -> None:
    behind = Camera(look_at((0, 5, 0), (0, 0, 0)), PERSPECTIVE.projection, 64, 64, 0.1, 20.0)
    _, seen = seen_texels(plane().mesh(), [], behind, 64)
    assert seen.mean() > 0.99


def test_steep_surfaces_are_not_taken_for_hidden() -> None:
    tilt = np.deg2rad(80.0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    shape = plane()
    mesh = make_mesh("m", shape.vertices, shape.triangles, shape.normals, shape.uvs, matrix_world=turn)
    _, seen = seen_texels(mesh, [], PERSPECTIVE, 128)
    assert seen[np.arange(len(seen)) % 128 > 3].mean() > 0.99


def test_half_precision_depth_is_good_enough() -> None:
    mesh = torus().mesh()
    camera = Camera(look_at((2, -4, 2), (0, 0, 0)), perspective(0.6, 1.0, 0.1, 20.0), 256, 256, 0.1, 20.0)
    visible = render_view([mesh], camera)
    texels = rasterise(mesh, 256)
    surface = Surface(mesh, texels)
    points = surface.points(texels.all())
    full = look(view_geometry(camera, visible.depth, facing=visible.facing()), points, surface.origin, 0.2)
    half = look(view_geometry(camera, visible.depth.half(), facing=visible.facing()), points, surface.origin, 0.2)
    assert len(np.setxor1d(full.index.numpy(), half.index.numpy())) < 0.005 * len(full)


def test_object_ids_guard_surfaces_that_touch() -> None:
    lower, upper = moved(plane(), 0.0, 1), moved(plane(1.0), -1e-5, 2)
    _, seen = seen_texels(lower, [upper], PERSPECTIVE, 128)
    inner = seen.reshape(128, 128)[36:92, 36:92]
    assert not inner.any()


def test_colours_are_never_mixed_across_a_silhouette() -> None:
    """A red ball before a green wall: no texel of either gets a trace of the other's colour."""
    ball, wall = moved(uv_sphere(1.0, 64, 128), -2.0, 1, 0.3), moved(plane(), 0.0, 2)
    visible = render_view([ball, wall], PERSPECTIVE)
    image = torch.zeros(1, 3, 256, 256)
    image[0, 0] = (visible.mesh == 0).float()
    image[0, 1] = (visible.mesh == 1).float()
    geometry = render_geometry([ball, wall], PERSPECTIVE)
    for mesh, foreign in ((ball, 1), (wall, 0)):
        texels = rasterise(mesh, 256)
        surface = Surface(mesh, texels)
        seen = look(geometry, surface.points(texels.all()), surface.origin)
        assert len(seen) > 1000
        assert float(sample(seen, image)[foreign].max()) < 1e-6


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_pictures_may_have_another_resolution_than_the_buffers(scale: float) -> None:
    mesh = uv_sphere().mesh()
    side = int(256 * scale)
    geometry = render_geometry([mesh], PERSPECTIVE, image_size=(side, side))
    ramp = (torch.arange(side) + 0.5) / side
    image = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None]
    texels = rasterise(mesh, 128)
    surface = Surface(mesh, texels)
    points = surface.points(texels.all())
    seen = look(geometry, points, surface.origin, 0.3)
    world = (points.position[:, seen.index] + surface.origin[:, None]).numpy().T
    pixels, _ = PERSPECTIVE.project(world)
    np.testing.assert_allclose(sample(seen, image).numpy().T, pixels / 256, atol=2e-5)


def test_depth_edges_are_silhouettes_and_steps_but_not_slopes() -> None:
    camera = ORTHOGRAPHIC
    x, _ = np.moveaxis((camera.pixel_centres() / 256 - 0.5) * 2.4, -1, 0)
    slope = torch.from_numpy(5.0 + 4.0 * x).float()
    assert not bool(depth_edges(camera, slope).any())
    step = torch.where(torch.from_numpy(x) < 0.0, slope, slope + 0.2)
    edges = depth_edges(camera, step)
    assert bool(edges[:, 127:129].all())
    assert int(edges.sum()) == 2 * 256
    ids = torch.ones(256, 256, dtype=torch.int32)
    ids[:, :10] = 2
    assert int(depth_edges(camera, slope, ids).sum()) == 2 * 256


def test_the_border_factor_rises_with_the_distance_from_edges() -> None:
    edges = torch.zeros(40, 40, dtype=torch.bool)
    edges[20, 20] = True
    border = soft_border(edges, 2, 3)
    y, x = np.mgrid[:40, :40]
    distance = np.hypot(y - 20, x - 20)
    np.testing.assert_allclose(border.numpy(), np.clip((np.minimum(distance, 5) - 1.0) / 4.0, 0, 1), atol=1e-6)
