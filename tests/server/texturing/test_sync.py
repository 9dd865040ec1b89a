"""Synchronised views: noise falls with the number of views that see a place, truth passes through unharmed."""

from __future__ import annotations

import pytest
import torch
from scumble_server.texturing.shapes import plane, torus, uv_sphere
from scumble_server.texturing.sync import SyncSchedule, plan_sync
from scumble_server.texturing.synthetic import marble, photograph
from scumble_server.texturing.views import place
from torch import Tensor

torch.set_num_threads(1)

SIDE = 96


def scene(count: int) -> tuple[list, list, Tensor, Tensor]:
    """Meshes, cameras, true pictures (V, 3, h, w) and where they show the object (V, 1, h, w)."""
    mesh = torus().mesh()
    cameras = [place([mesh], 360.0 / count * j, 30.0 * (-1) ** j, (SIDE, SIDE)).camera for j in range(count)]
    shots = [photograph([mesh], camera, marble(6.0)) for camera in cameras]
    hit = torch.stack([shot.visible.mesh >= 0 for shot in shots])[:, None]
    return [mesh], cameras, torch.stack([shot.image for shot in shots]), hit


def rms(difference: Tensor, where: Tensor) -> float:
    return float(difference[where.expand_as(difference)].pow(2).mean().sqrt())


def test_error_falls_as_more_views_see_each_place() -> None:
    errors = []
    for count in (2, 4, 8, 16):
        meshes, cameras, true, hit = scene(count)
        plan = plan_sync(meshes, cameras, (SIDE, SIDE), 192)
        noisy = true + 0.2 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
        errors.append(rms(plan.synchronise(noisy, 1.0) - true, hit))
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.55 * errors[1]  # four times the views: about half the error
    assert errors[0] < 0.2


def test_views_that_agree_are_left_as_they_are() -> None:
    meshes, cameras, true, hit = scene(8)
    plan = plan_sync(meshes, cameras, (SIDE, SIDE), 512)
    out = plan.synchronise(true, 3.0)
    assert rms(out - true, hit) < 0.01
    torch.testing.assert_close(out[~hit.expand_as(out)], true[~hit.expand_as(out)], rtol=0, atol=0)


def test_synchronised_views_agree_with_each_other() -> None:
    """What one view says of a place is what another says of it: a second pass changes next to nothing."""
    meshes, cameras, true, hit = scene(8)
    plan = plan_sync(meshes, cameras, (SIDE, SIDE), 256)
    noisy = true + 0.2 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    once = plan.synchronise(noisy, 2.0)
    twice = plan.synchronise(once, 2.0)
    assert rms(twice - once, hit) < 0.35 * rms(once - noisy, hit)


def test_a_whole_denoising_ends_near_the_truth() -> None:
    """A synthetic denoiser that errs differently in every view and step; DDIM in view space."""
    meshes, cameras, true, hit = scene(8)
    plan = plan_sync(meshes, cameras, (SIDE, SIDE), 256)
    schedule, steps = SyncSchedule(), 10

    def run(synchronised: bool) -> float:
        generator = torch.Generator().manual_seed(0)
        bias = 0.15 * torch.randn(true.shape, generator=generator)
        alphas = torch.linspace(0.02, 0.999, steps + 1)
        x = torch.randn(true.shape, generator=generator)
        for step in range(steps):
            now, after = alphas[step], alphas[step + 1]
            clean = true + bias  # what the denoiser believes
            exponent = schedule.exponent(step, steps)
            if synchronised and exponent is not None:
                clean = plan.synchronise(clean, exponent)
                bias = bias * 0.7 + (clean - true) * 0.3
            noise = (x - now.sqrt() * clean) / (1.0 - now).sqrt()
            x = after.sqrt() * clean + (1.0 - after).sqrt() * noise
        return rms(x - true, hit)

    assert run(True) < 0.6 * run(False)


def test_several_meshes_share_one_plan_without_mixing() -> None:
    left = plane(1.0).mesh("left", 1)
    ball = uv_sphere(0.5).mesh("ball", 2)
    left.vertices[:, 0] -= 1.0
    cameras = [place([left, ball], azimuth, 10.0, (SIDE, SIDE)).camera for azimuth in (0.0, 30.0)]
    shots = [photograph([left, ball], camera, marble(4.0)) for camera in cameras]
    owner = torch.stack([shot.visible.mesh for shot in shots])[:, None]
    pictures = torch.where(owner == 0, 1.0, torch.where(owner == 1, -1.0, 0.0))
    out = plan_sync([left, ball], cameras, (SIDE, SIDE), 128).synchronise(pictures, 1.0)
    torch.testing.assert_close(out, pictures, rtol=0, atol=1e-5)


def test_latents_are_synchronised_like_pictures() -> None:
    meshes, cameras, _, _ = scene(4)
    plan = plan_sync(meshes, cameras, (SIDE // 8, SIDE // 8), 64)
    latents = torch.randn(4, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(0)).half()
    out = plan.synchronise(latents, 1.0)
    assert out.dtype == torch.float16
    assert bool(torch.isfinite(out).all())
    assert float((out - latents).abs().max()) > 0.1


def test_shared_noise_is_the_same_place_for_place_and_still_normal() -> None:
    meshes, cameras, _, hit = scene(8)
    plan = plan_sync(meshes, cameras, (SIDE, SIDE), 512)
    own = torch.randn(8, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    noise = plan.share_noise(own, torch.Generator().manual_seed(2))
    on_mesh = noise[hit]
    assert abs(float(on_mesh.mean())) < 0.03
    assert float(on_mesh.std()) == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(noise[~hit], own[~hit], rtol=0, atol=0)
    same = plan_sync(meshes, [cameras[0], cameras[0]], (SIDE, SIDE), 512).share_noise(own[:2])
    torch.testing.assert_close(same[0][hit[0]], same[1][hit[0]], rtol=0, atol=0)


def test_the_exponent_rises_and_then_lets_go() -> None:
    schedule = SyncSchedule(until=0.5, first=1.0, last=6.0)
    exponents = [schedule.exponent(step, 11) for step in range(11)]
    assert exponents == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None, None, None, None, None]
    assert SyncSchedule().exponent(0, 1) == 1.0
