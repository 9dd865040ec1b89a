"""Synchronising inside the denoise loop, with a denoiser whose truth is known; and what views are shown and told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scumble_server.engine.denoise import AtOnce, Step, Text, denoise, signal_of
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.extensions.shared_attention import SharedAttention, neighbours, shared_attention
from scumble_server.engine.extensions.synchronise import Synchronise, contact_sheet
from scumble_server.engine.families.unet import UNet
from scumble_server.engine.samplers import make_scheduler
from scumble_server.engine.texture_sequential import _shown
from scumble_server.engine.texture_views import WorkView, control_images, work_views
from scumble_server.texturing.mesh import Mesh
from scumble_server.texturing.shapes import cube, torus, uv_sphere
from scumble_server.texturing.sync import SyncSchedule, plan_sync
from scumble_server.texturing.synthetic import marble, photograph
from scumble_server.texturing.views import place
from scumble_shared.camera import pack_matrix
from scumble_shared.job import SAMPLERS, Control, MeshRef, TextureJob, TextureView
from torch import Tensor

from .conftest import Hooks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 48
SCATTER = 0.3
CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


@dataclass
class Scene:
    mesh: Mesh
    cameras: list
    true: Tensor
    hit: Tensor

    def error(self, views: Tensor) -> float:
        return float((views - self.true)[self.hit.expand_as(views)].pow(2).mean().sqrt())


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A ring of marble from eight sides, in -1 to 1."""
    mesh = torus(rings=24, segments=48).mesh()
    cameras = [place([mesh], 45.0 * j, 30.0 * (-1) ** j, (SIDE, SIDE)).camera for j in range(8)]
    shots = [photograph([mesh], camera, marble(4.0)) for camera in cameras]
    hit = torch.stack([shot.visible.mesh >= 0 for shot in shots])[:, None]
    return Scene(mesh, cameras, torch.stack([shot.image for shot in shots]) * 2.0 - 1.0, hit)


class Believer:
    """A UNet by its signature, the best there is for pictures that scatter by SCATTER round what it believes of each
    view: while there is much noise it says what it believes, and in the end what it is shown."""

    dtype, device = torch.float32, torch.device("cpu")
    config = SimpleNamespace(time_cond_proj_dim=None)

    def __init__(self, scheduler: Any, believed: Tensor) -> None:
        self.scheduler, self.believed = scheduler, believed

    def __call__(self, noisy: Tensor, timestep: Tensor, **_: object) -> tuple[Tensor]:
        signal = signal_of(self.scheduler, timestep).float()
        noise = (1.0 - signal**2) ** 0.5
        trust = SCATTER**2 / (SCATTER**2 + (noise / signal) ** 2)
        clean = (1.0 - trust) * self.believed + trust * noisy / signal
        if self.scheduler.config.prediction_type == "v_prediction":
            return ((signal * noisy - clean) / noise,)
        return ((noisy - signal * clean) / noise,)


def denoised(scene: Scene, sampler: str, prediction_type: str = "epsilon", until: float | None = None) -> Tensor:
    """until: None doesn't synchronise."""
    scheduler = make_scheduler(sampler, {**CONFIG, "prediction_type": prediction_type})
    scheduler.set_timesteps(12)
    generator = torch.Generator().manual_seed(0)
    believed = scene.true + 0.4 * torch.randn(scene.true.shape, generator=generator)
    latents = torch.randn(scene.true.shape, generator=generator) * scheduler.init_noise_sigma
    plan = plan_sync([scene.mesh], scene.cameras, (SIDE, SIDE), 128)
    extensions = []
    if until is not None:
        extensions.append(Synchronise(plan, SyncSchedule(until=until), range(8), torch.zeros_like(latents)))
    generators = [torch.Generator().manual_seed(index) for index in range(8)]
    text = Text(torch.zeros(1, 1, 1), None, 1.0)
    believer = Believer(scheduler, believed)
    return denoise(UNet(believer), scheduler, scheduler.timesteps, latents, text, generators, extensions, Hooks())


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_views_that_err_apart_come_nearer_to_the_truth_together(scene, sampler, prediction_type):
    alone = scene.error(denoised(scene, sampler, prediction_type))
    together = scene.error(denoised(scene, sampler, prediction_type, until=1.0))
    assert together < 0.6 * alone


def test_views_let_go_before_the_end_still_gain(scene):
    errors = [scene.error(denoised(scene, "dpmpp_2m_karras", until=until)) for until in (None, 0.4, 0.8, 1.0)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_moved_prediction_says_the_moved_image(prediction_type):
    generator = torch.Generator().manual_seed(0)
    noisy, prediction, change = torch.randn(3, 2, 4, 5, 5, generator=generator).unbind()
    for signal in (0.07, 0.5, 0.99):
        step = Step(0, 1, torch.tensor(1), torch.tensor(signal), noisy, noisy, noisy, prediction_type, prediction)
        wanted = step.clean() + change
        step.prediction = step.moved(change)
        torch.testing.assert_close(step.clean(), wanted, atol=2e-4, rtol=1e-4)


def test_a_batch_in_parts_is_the_same_batch(tiny, scene):
    scheduler = make_scheduler("euler_a", tiny.scheduler_config)
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = Text(torch.randn(5, 77, 64), torch.randn(1, 77, 64), 3.0)
    results = []
    for at_once in (None, AtOnce(2), AtOnce(1)):
        scheduler.set_timesteps(2)
        generators = [torch.Generator().manual_seed(index) for index in range(5)]
        noisy = latents * scheduler.init_noise_sigma
        arguments = (tiny.network, scheduler, scheduler.timesteps, noisy, text, generators, [], Hooks(), at_once)
        results.append(denoise(*arguments))
    torch.testing.assert_close(results[1], results[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(results[2], results[0], atol=1e-3, rtol=1e-3)


class TestSharedAttention:
    def test_looks_at_itself_its_neighbours_and_the_front(self):
        mesh = torus(rings=8, segments=16).mesh()
        ring = [place([mesh], 60.0 * j, 0.0, (8, 8)).camera for j in range(6)]
        found = neighbours(ring, 0)
        assert [(row[0], set(row[1:3]), row[3]) for row in found] == [
            (j, {(j - 1) % 6, (j + 1) % 6}, 0) for j in range(6)
        ]
        assert neighbours(ring[:1], 0) == [[0, 0]]

    def test_among_equals_it_changes_nothing(self, tiny):
        """Attention over copies of oneself is attention over oneself; and afterwards the UNet is as it was."""
        noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1)
        prompts = torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(1)).repeat(4, 1, 1)
        sharing = SharedAttention([[0, 1], [1, 0]])
        with torch.inference_mode():
            alone = tiny.unet(noisy, 500, prompts).sample
            with shared_attention(tiny.unet, sharing):
                sharing.now = [[0, 1], [1, 0]]
                torch.testing.assert_close(tiny.unet(noisy, 500, prompts).sample, alone, atol=1e-4, rtol=1e-4)
                noisy[1] *= -1.0  # seen by the first image, whose half it is in, and not by those of the other half
                other = tiny.unet(noisy, 500, prompts).sample
            assert float((other[0] - alone[0]).abs().max()) > 1e-3
            torch.testing.assert_close(other[2:], alone[2:], atol=1e-4, rtol=1e-4)
            noisy[1] *= -1.0
            assert bool((tiny.unet(noisy, 500, prompts).sample == alone).all())

    def test_acts_at_first_and_within_the_part_shown(self):
        sharing = SharedAttention([[0, 1, 2], [1, 0, 2], [2, 1, 0]])
        empty = torch.zeros(0)

        def at(index: int, images: slice) -> list[list[int]] | None:
            step = Step(index, 10, empty, empty, empty, empty, empty, "epsilon", images=images)
            sharing.before_network(step)
            return None if sharing.now is None else sharing.now.tolist()

        assert at(0, slice(None)) == [[0, 1, 2], [1, 0, 2], [2, 1, 0]]
        assert at(1, slice(1, 3)) == [[0, 0, 1], [1, 0, 1]]
        assert at(2, slice(None)) is None


def disagreement(scene: Scene, views: list[np.ndarray]) -> float:
    """RMS difference between a view and what the texture of all views says it should show, in 0 to 1."""
    pictures = torch.stack([torch.from_numpy(view).permute(2, 0, 1).float() / 255.0 for view in views])
    plan = plan_sync([scene.mesh], scene.cameras, pictures.shape[2:], 2 * pictures.shape[-1])
    hit = torch.stack([photograph([scene.mesh], c, marble(1.0)).visible.mesh >= 0 for c in scene.cameras])[:, None]
    moved = plan.synchronise(pictures, 1.0) - pictures
    return float(moved[hit.expand_as(moved)].pow(2).mean().sqrt())


@pytest.mark.parametrize(("method", "share"), [("synchronised", 0.8), ("sequential", 0.9)])
def test_generated_views_agree_better_for_it(models_folder, method, share):
    """With random weights: no picture of anything, but what one view shows of a place, others show more alike. (In a
    sequence little is held at this size: the borders of what was seen are made anew.)"""
    side = 64
    shape = torus(rings=12, segments=24)
    mesh = shape.mesh()
    cameras = [place([mesh], 30.0 * j, 20.0, (side, side)).camera for j in range(3)]
    here = Scene(mesh, cameras, torch.zeros(0), torch.zeros(0))
    tensors = {"v": shape.vertices, "t": shape.triangles, "n": shape.normals, "u": shape.uvs}
    ref = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "v", "t", "n", "u")
    executor = EngineExecutor((models_folder,), "cpu")
    found = {}
    for name, settings in {"apart": {"sync_end": 0.0}, "together": {"method": method, "sync_end": 1.0}}.items():
        views = tuple(TextureView(camera) for camera in cameras)
        job = TextureJob("moss", (ref,), model="tiny", views=views, num_inference_steps=4, texture_size=16, **settings)
        output = executor.run(job, tensors, Hooks()).tensors
        found[name] = disagreement(here, [output[f"view/{i}"] for i in range(3)])
    assert found["together"] < share * found["apart"]


def test_steps_are_counted_over_all_views_of_a_sequence(models_folder):
    shape = cube()
    camera = place([shape.mesh()], 0.0, 0.0, (64, 64)).camera
    tensors = {"v": shape.vertices, "t": shape.triangles, "n": shape.normals, "u": shape.uvs}
    ref = MeshRef("Box", 1, pack_matrix(np.eye(4)), "v", "t", "n", "u")
    views = (TextureView(camera),) * 3
    job = TextureJob("moss", (ref,), model="tiny", views=views, num_inference_steps=2, texture_size=16)
    for method, told in {"sequential": [(step, 6) for step in range(1, 7)], "synchronised": [(1, 2), (2, 2)]}.items():
        hooks = Hooks()
        EngineExecutor((models_folder,), "cpu").run(replace(job, method=method), tensors, hooks)
        assert [(step, steps) for stage, step, steps, _ in hooks.stages if stage == "denoising"] == told
        fractions = [fraction for *_, fraction in hooks.stages if fraction is not None]
        assert fractions == sorted(fractions)


class TestSequence:
    def test_a_view_begins_with_what_others_saw(self, scene):
        plan = plan_sync([scene.mesh], scene.cameras, (SIDE, SIDE), 192)
        shown = _shown(plan, scene.true, [0, 2], 1, 3.0)
        hit = scene.hit[1:2]
        seen = (shown.held > 0.0) & hit
        assert 0.3 < float(seen.sum() / hit.sum()) <= 1.0
        error = (shown.picture - scene.true[1:2])[seen.expand_as(shown.picture)]
        assert float(error.pow(2).mean().sqrt()) < 0.15
        assert not bool((shown.held[~hit] > 0.0).any())

    def test_the_very_same_view_has_nothing_to_add(self, scene):
        plan = plan_sync([scene.mesh], [scene.cameras[0]] * 2, (SIDE, SIDE), 192)
        shown = _shown(plan, scene.true[[0, 0]], [0], 1, 3.0)
        assert float((shown.held[scene.hit[:1]] == 1.0).float().mean()) > 0.8

    def test_the_first_view_is_free(self, scene):
        plan = plan_sync([scene.mesh], scene.cameras[:2], (SIDE, SIDE), 64)
        assert not bool(_shown(plan, scene.true[:2], [], 0, 3.0).held.any())


class TestWhatViewsAreShown:
    def test_one_range_of_depth_for_all(self):
        """Stepping back makes the ball smaller and darker, though it is all there is in either picture."""
        ball = uv_sphere(1.0).mesh()
        near = place([ball], 0.0, 0.0, (33, 33)).camera
        back = near.view_matrix.copy()
        back[2, 3] -= 3.0
        far = replace(near, view=pack_matrix(back), far=near.far + 3.0)
        images = control_images((Control("depth"),), [ball], [WorkView(near, "", ""), WorkView(far, "", "")])[0]
        eye = float(np.linalg.norm(near.position)) + np.array([0.0, 3.0])
        depth, outline = eye - 1.0, eye[1] - 1.0 / eye[1]  # of the nearest points, and of the farther ball's silhouette
        expected = (1.0 / depth - 1.0 / outline) / (1.0 / depth[0] - 1.0 / outline) * 255.0
        assert images.shape == (2, 33, 33, 3)
        assert images[:, 16, 16, 0] == pytest.approx(expected, abs=6.0)
        assert (images[:, 0, 0] == 0).all()

    def test_normals_face_the_viewer(self):
        ball = uv_sphere(1.0).mesh()
        camera = place([ball], 30.0, 20.0, (33, 33)).camera
        image = control_images((Control("normal"),), [ball], [WorkView(camera, "", "")])[0][0]
        assert np.abs(image[16, 16].astype(int) - (128, 128, 255)).max() <= 3  # blue is front
        assert image[16, 8, 0] > 160  # red is left
        assert image[8, 16, 1] > 160  # green is up
        assert (image[0, 0] == (128, 128, 255)).all()

    def test_words_go_by_the_direction_of_view(self):
        shape = torus(rings=8, segments=16)
        mesh = shape.mesh()
        places = ((0.0, 0.0), (90.0, 0.0), (180.0, 10.0), (270.0, 0.0), (0.0, 90.0))
        views = tuple(TextureView(place([mesh], a, e, (16, 16)).camera, "oak" if a == 90.0 else "") for a, e in places)
        found, seen = work_views(TextureJob("chair", (), views=views), [mesh], {}, 8)
        assert [view.words for view in found] == ["front view", "side view", "back view", "side view", "top view"]
        assert [view.prompt for view in found][:2] == ["chair, front view", "chair, oak, side view"]
        assert 0.5 < seen < 1.0
        plain, _ = work_views(TextureJob("chair", (), views=views, view_words=False), [mesh], {}, 8)
        assert [view.prompt for view in plain] == ["chair", "chair, oak", "chair", "chair", "chair"]

    def test_all_fit_on_one_sheet(self):
        views = torch.arange(1.0, 6.0)[:, None, None, None].expand(5, 4, 2, 3)
        sheet = contact_sheet(views)
        assert sheet.shape == (1, 4, 6, 6)
        assert sheet[0, 0, ::2, ::3].tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]
