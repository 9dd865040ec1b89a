"""Noise that belongs to the world: white on the screen, and the same at the same place from everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.surface_noise import SurfaceNoise
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from scumble_shared.job import GenerateJob, View

from .conftest import Hooks

SIDE = 256
SCALE = 8
CELLS = SIDE // SCALE


def plane_depth(camera: Camera, normal=(0.0, 0.0, 1.0), offset=0.0) -> np.ndarray:
    """Planar depth of the plane normal . p = offset, closed form; inf where it isn't seen."""
    near, far = (
        camera.unproject(camera.pixel_centres(), np.ones((SIDE, SIDE))),
        camera.unproject(camera.pixel_centres(), np.full((SIDE, SIDE), 2.0)),
    )
    step = (far - near) @ np.asarray(normal)
    depth = 1.0 + (offset - near @ np.asarray(normal)) / np.where(step == 0.0, np.nan, step)
    return np.where(depth > 0.0, depth, np.inf).astype(np.float32)


def above(x=0.0, y=0.0, height=5.0) -> Camera:
    """Straight above the ground plane, 8 units wide: a latent pixel is a quarter of a unit."""
    eye = np.eye(4)
    eye[:3, 3] = -x, -y, -height
    return Camera(tuple(eye.ravel()), orthographic(8.0, 8.0, 0.1, 50.0), SIDE, SIDE, 0.1, 50.0)


def around(degrees: float) -> Camera:
    angle = np.radians(degrees)
    eye = (6.0 * np.sin(angle), -6.0 * np.cos(angle), 5.0)
    return Camera(look_at(eye, (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 100.0), SIDE, SIDE, 0.1, 100.0)


def noise_of(camera: Camera, depth: np.ndarray | None = None, seed: int = 1, screen_seed: int = 9) -> np.ndarray:
    screen = torch.randn(1, 4, CELLS, CELLS, generator=torch.Generator().manual_seed(screen_seed))
    buffer = plane_depth(camera) if depth is None else depth
    return SurfaceNoise(camera, buffer, (SIDE, SIDE), SCALE).over(screen, [seed])[0].numpy()


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("camera", [above(), above(height=3.3), around(0.0), around(77.0)], ids=str)
def test_it_is_white_and_of_unit_variance(camera):
    noise = np.concatenate([noise_of(camera, seed=seed) for seed in range(8)])
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.corrcoef(noise.reshape(len(noise), -1))[np.triu_indices(len(noise), 1)]).max() < 0.12
    assert abs(correlation(noise[:, :, 1:], noise[:, :, :-1])) < 0.12
    assert abs(correlation(noise[:, 1:], noise[:, :-1])) < 0.12
    kurtosis = ((noise / noise.std()) ** 4).mean()
    assert kurtosis == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("cells", [1, 5])
def test_a_camera_that_moves_by_whole_latent_pixels_sees_the_noise_moved(cells):
    here, there = noise_of(above()), noise_of(above(x=cells * 0.25))
    np.testing.assert_allclose(there[:, :, :-cells], here[:, :, cells:], atol=1e-5)


def test_a_camera_that_moves_by_half_a_latent_pixel_sees_it_half_and_half():
    here, there = noise_of(above()), noise_of(above(x=0.125))
    assert correlation(here[:, :, :-1], there[:, :, :-1]) == pytest.approx(0.5, abs=0.1)
    assert correlation(here[:, :, 1:], there[:, :, :-1]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("degrees", "least"), [(0.5, 0.5), (2.0, 0.25), (10.0, 0.2)])
def test_it_sticks_to_the_ground_while_the_camera_orbits(degrees, least):
    first, second = around(0.0), around(degrees)
    noises = noise_of(first), noise_of(second)
    centres = (np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1) + 0.5) * SCALE
    depth = plane_depth(second)[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]
    pixels, _ = first.project(second.unproject(centres, np.where(np.isfinite(depth), depth, 1.0)))
    column, row = np.floor(pixels / SCALE).astype(int).transpose(2, 0, 1)
    seen = np.isfinite(depth) & (row >= 0) & (row < CELLS) & (column >= 0) & (column < CELLS)
    moved = noises[0][:, row[seen], column[seen]]
    assert correlation(moved, noises[1][:, seen]) > least
    assert abs(correlation(noises[0][:, seen], noises[1][:, seen])) < abs(correlation(moved, noises[1][:, seen])) + 0.3


def test_the_background_is_the_screens():
    depth = plane_depth(above())
    depth[:, : SIDE // 2] = np.inf
    screen = torch.randn(1, 4, CELLS, CELLS, generator=torch.Generator().manual_seed(9))
    noise = noise_of(above(), depth)
    np.testing.assert_allclose(noise[:, :, : CELLS // 2], screen[0, :, :, : CELLS // 2].numpy(), atol=1e-6)
    assert abs(correlation(noise[:, :, CELLS // 2 :], screen[0, :, :, CELLS // 2 :].numpy())) < 0.1


def test_silhouettes_are_of_unit_variance():
    depth = plane_depth(above())
    depth[::2] = np.inf  # half of every latent pixel's samples
    noise = np.concatenate([noise_of(above(), depth, seed=seed, screen_seed=seed) for seed in range(8)])
    assert noise.std() == pytest.approx(1.0, abs=0.03)


def test_seeds_differ_and_repeat():
    np.testing.assert_array_equal(noise_of(above(), seed=3), noise_of(above(), seed=3))
    assert abs(correlation(noise_of(above(), seed=3), noise_of(above(), seed=4))) < 0.06


def test_places_far_from_the_origin_are_as_good():
    noise = noise_of(above(x=12345.0, y=-777.0))
    assert noise.std() == pytest.approx(1.0, abs=0.04)


SMALL = 64
CAMERA = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(0.7, 1.0, 0.1, 100.0), SMALL, SMALL, 0.1, 100.0)


@pytest.fixture(scope="module")
def executor(models_folder) -> EngineExecutor:
    return EngineExecutor((models_folder,), "cpu")


def painted(executor: EngineExecutor, **changes: object) -> list[np.ndarray]:
    settings = {"model": "tiny", "width": SMALL, "height": SMALL, "num_inference_steps": 2, "batch_size": 2, **changes}
    tensors = {"depth": np.full((SMALL, SMALL), 5.0, np.float32)}
    output = executor.run(GenerateJob("a wall", view=View(CAMERA, depth="depth"), **settings), tensors, Hooks())
    return list(output.tensors.values())


@pytest.mark.supports("noise on the surface", family="sd15")
def test_a_job_begins_with_it_when_asked_to(executor):
    screen, surface, again = (painted(executor, noise_anchor=anchor) for anchor in ("screen", "surface", "surface"))
    assert (screen[0] != surface[0]).any()
    np.testing.assert_array_equal(surface, again)
    other = painted(executor, noise_anchor="surface", seed=1)
    np.testing.assert_array_equal(surface[1], other[0])  # picture i has seed + i


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 65), (100, 40)])
def test_any_size_of_picture_goes_with_any_size_of_buffers(executor, width, height):
    assert painted(executor, noise_anchor="surface", width=width, height=height)[0].shape == (height, width, 3)
