"""The ray-caster against closed-form truths, and the camera convention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scenes import HELD_OUT_KINDS, KINDS, SLOTS, Scene, random_scenes, trace
from scumble_shared.camera import Camera, look_at, orthographic, perspective

SIZE = 48
FIELD_OF_VIEW = 0.8


def scene_of(
    kind: str,
    size: tuple[float, float, float],
    eye: tuple[float, float, float] = (0.0, -5.0, 0.0),
    parallel: bool = False,
) -> Scene:
    """One object at the origin, seen from ``eye``."""
    kinds = torch.zeros(1, SLOTS, dtype=torch.long)
    kinds[0, 3] = KINDS.index(kind)
    view = torch.tensor(look_at(eye, (0.0, 0.0, 0.0)), dtype=torch.float32).reshape(1, 4, 4)
    return Scene(
        kind=kinds,
        centre=torch.zeros(1, SLOTS, 3),
        rotation=torch.eye(3).expand(1, SLOTS, 3, 3),
        size=torch.tensor(size).expand(1, SLOTS, 3),
        shape=torch.full((1, SLOTS, 8), 0.5),
        view=view,
        tan_half=torch.tensor([math.tan(FIELD_OF_VIEW / 2)]),
        window=torch.tensor([1.5]),
        parallel=torch.tensor([parallel]),
    )


def camera_of(scene: Scene) -> Camera:
    projection = (
        orthographic(3.0, 3.0, 0.1, 100.0) if bool(scene.parallel) else perspective(FIELD_OF_VIEW, 1.0, 0.1, 100.0)
    )
    return Camera(tuple(scene.view[0].flatten().tolist()), projection, SIZE, SIZE, 0.1, 100.0)


@pytest.mark.parametrize("parallel", [False, True])
def test_sphere_depth_and_normal_are_the_analytic_ones(parallel: bool) -> None:
    scene = scene_of("sphere", (1.0, 1.0, 1.0), (1.0, -4.5, 2.0), parallel)
    buffers = trace(scene, SIZE, SIZE)
    camera = camera_of(scene)
    near = camera.unproject(camera.pixel_centres(), np.full((SIZE, SIZE), 1.0))
    far = camera.unproject(camera.pixel_centres(), np.full((SIZE, SIZE), 2.0))
    step = far - near  # what one unit of depth moves
    a, b, c = (step**2).sum(-1), (near * step).sum(-1), (near**2).sum(-1) - 1.0
    with np.errstate(invalid="ignore"):
        depth = 1.0 + (-b - np.sqrt(b * b - a * c)) / a
    hit = np.isfinite(depth)
    assert 0.05 < hit.mean() < 0.9
    measured = buffers.depth[0].numpy()
    assert np.array_equal(np.isfinite(measured), hit)
    np.testing.assert_allclose(measured[hit], depth[hit], rtol=1e-4)
    # On the unit sphere the outward normal is the position itself.
    position = near + (depth[..., None] - 1.0) * step
    np.testing.assert_allclose(buffers.normal[0].numpy()[hit], position[hit], atol=2e-3)


def test_plane_depth_is_constant_and_its_normal_faces_the_viewer() -> None:
    buffers = trace(scene := scene_of("box", (9.0, 1.0, 9.0)), SIZE, SIZE)
    np.testing.assert_allclose(buffers.depth[0].numpy(), 4.0, rtol=1e-5)
    expected = torch.tensor([0.0, 0.0, 1.0]).expand(SIZE, SIZE, 3)
    torch.testing.assert_close(buffers.view_normal(scene.view)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_positions_reproject_to_their_pixels_and_normals_face_the_ray(kind: str) -> None:
    scene = scene_of(kind, (0.8, 0.8, 0.8), (2.0, -4.0, 1.5))
    buffers = trace(scene, SIZE, SIZE)
    camera, hit = camera_of(scene), buffers.slot[0] == 3
    assert 0.02 < float(hit.float().mean()) < 0.9
    pixels, depth = camera.project(buffers.position[0][hit].double().numpy())
    np.testing.assert_allclose(pixels, camera.pixel_centres()[hit.numpy()], atol=1e-2)
    np.testing.assert_allclose(depth, buffers.depth[0][hit].numpy(), rtol=1e-4)
    torch.testing.assert_close(buffers.normal[0][hit].norm(dim=-1), torch.ones(int(hit.sum())))
    facing = (buffers.normal[0][hit] * buffers.direction[0][hit]).sum(-1)
    assert float((facing < 0.05).float().mean()) > 0.99


def test_a_miss_is_inf_with_a_zero_normal() -> None:
    buffers = trace(scene_of("sphere", (0.5, 0.5, 0.5)), SIZE, SIZE)
    assert math.isinf(float(buffers.depth[0, 0, 0]))
    assert not buffers.normal[0, 0, 0].any()
    assert int(buffers.slot[0, 0, 0]) == -1


def test_scenes_are_decided_by_the_seed() -> None:
    one, two, other = (random_scenes(3, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(one.centre, two.centre)
    assert not torch.equal(one.centre, other.centre)


def test_held_out_shapes_never_occur_in_training_scenes() -> None:
    reserved = torch.tensor([KINDS.index(kind) for kind in HELD_OUT_KINDS])
    training = random_scenes(300, torch.Generator().manual_seed(1))
    held_out = random_scenes(300, torch.Generator().manual_seed(1), held_out=True)
    assert not torch.isin(training.kind, reserved).any()
    assert torch.isin(held_out.kind, reserved).float().sum() > 50
