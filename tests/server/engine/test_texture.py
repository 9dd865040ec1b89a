"""Texture jobs as the worker does them: views and textures out, whatever goes in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scumble_server.engine.executor import EngineExecutor
from scumble_server.service import Executor, JobCancelled
from scumble_server.texturing.shapes import torus
from scumble_server.texturing.views import place
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import SAMPLERS, TEXTURE_METHODS, Control, MeshRef, TextureJob, TextureView
from scumble_shared.schema import decode

from .conftest import Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 64
SHAPE = torus(rings=12, segments=24)
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs")
TENSORS = {
    "vertices": SHAPE.vertices,
    "triangles": SHAPE.triangles,
    "normals": SHAPE.normals,
    "uvs": SHAPE.uvs,
    "photo": picture(3, SIDE, SIDE),
    "photo2": picture(4, 2 * SIDE, 2 * SIDE),
}
BOTH = (Control("depth"), Control("normal"))


def camera(azimuth: float, elevation: float = 20.0, side: int = SIDE) -> Camera:
    return place([SHAPE.mesh()], azimuth, elevation, (side, side)).camera


VIEWS = tuple(TextureView(camera(azimuth)) for azimuth in (0.0, 60.0, 180.0))


@pytest.fixture(scope="module")
def executor(models_folder) -> Executor:
    return EngineExecutor((models_folder,), "cpu")


def job(**changes) -> TextureJob:
    settings = {"model": "tiny", "views": VIEWS, "num_inference_steps": 2, "texture_size": 32, "guidance_scale": 3.0}
    return TextureJob("a brick wall", (MESH,), **{**settings, **changes})


def run(executor, job, tensors=None, hooks=None):
    return executor.run(job, {**TENSORS, **(tensors or {})}, hooks or Hooks())


def error_of(executor, job, tensors=None) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        run(executor, job, tensors)
    return caught.value


class TestResults:
    def test_placed_by_the_server_they_see_all_there_is(self, executor):
        hooks = Hooks()
        output = run(executor, job(views=(), view_size=SIDE, controls=BOTH, texture_size=48), hooks=hooks)
        views = output.provenance["views"]
        assert [name for name in output.tensors if name.startswith("view/")] == [f"view/{i}" for i in range(len(views))]
        assert len(views) >= 8
        assert all(output.tensors[f"view/{i}"].shape == (SIDE, SIDE, 3) for i in range(len(views)))
        assert output.tensors["texture/Ring"].shape == (48, 48, 4)
        assert (output.tensors["texture/Ring"][..., 3] == 255).all()
        assert output.tensors["weight/Ring"].shape == (48, 48)
        assert output.provenance["coverage"] > 0.97
        assert output.provenance["meshes"]["Ring"]["coverage"] > 0.95
        assert {"placing", "conditioning", "generating", "fusing"} <= set(output.provenance["timings"])
        assert {view["words"] for view in views} >= {"front view", "side view", "back view"}
        assert hooks.previews
        assert all(preview.dtype == np.uint8 and preview.ndim == 3 for preview in hooks.previews)
        fractions = [fraction for *_, fraction in hooks.stages if fraction is not None]
        assert fractions == sorted(fractions)

    def test_its_cameras_are_those_to_go_on_with(self, executor):
        placed = run(executor, job(views=(), view_size=SIDE))
        cameras = [decode(Camera, view["camera"]) for view in placed.provenance["views"]]
        again = run(executor, job(views=tuple(TextureView(camera) for camera in cameras)))
        for name, tensor in placed.tensors.items():
            assert (again.tensors[name] == tensor).all(), name

    @pytest.mark.supports("textures all around, {method}", family="sd15")
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_the_same_job_gives_the_same_pixels(self, executor, method):
        one = job(method=method, sampler="euler_a", controls=BOTH)
        first, second = run(executor, one).tensors, run(executor, one).tensors
        assert all((first[name] == second[name]).all() for name in first)
        assert (first["texture/Ring"] != run(executor, replace(one, seed=9)).tensors["texture/Ring"]).any()

    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_every_sampler(self, executor, sampler, method):
        output = run(executor, job(sampler=sampler, method=method, views=VIEWS[:2], num_inference_steps=3))
        assert output.tensors["texture/Ring"].std() > 0

    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_models_made_for_inpainting(self, executor, method):
        output = run(executor, job(model="tiny-inpainting", method=method, views=VIEWS[:2]))
        assert output.tensors["texture/Ring"].std() > 0

    def test_sizes_that_are_no_whole_latents_are_rounded_up(self, executor):
        views = tuple(replace(view, camera=replace(view.camera, width=60, height=33)) for view in VIEWS)
        assert run(executor, job(views=views)).tensors["view/1"].shape == (40, 64, 3)

    def test_several_meshes_get_a_texture_each(self, executor):
        other = replace(MESH, name="Other", object_id=2, matrix_world=pack_matrix(np.diag([0.5, 0.5, 0.5, 1.0])))
        output = run(executor, replace(job(), meshes=(MESH, other)))
        assert {"texture/Ring", "texture/Other", "weight/Ring", "weight/Other"} <= set(output.tensors)

    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_a_mesh_on_udim_tiles_gets_one_for_each(self, executor, method):
        half = np.arange(len(SHAPE.triangles)) >= len(SHAPE.triangles) // 2
        uvs = SHAPE.uvs + np.float32([1.0, 0.0]) * half[:, None, None]
        output = run(executor, replace(job(method=method), meshes=(replace(MESH, tiles=(1001, 1002)),)), {"uvs": uvs})
        names = [name for name in output.tensors if not name.startswith("view/")]
        assert names == ["texture/Ring.1001", "weight/Ring.1001", "texture/Ring.1002", "weight/Ring.1002"]
        assert output.tensors["texture/Ring.1002"].shape == (32, 32, 4)
        assert set(output.provenance["meshes"]) == {"Ring.1001", "Ring.1002"}
        assert all(fact["coverage"] > 0.1 for fact in output.provenance["meshes"].values())
        assert output.tensors["texture/Ring.1001"].std() > 0
        assert output.tensors["texture/Ring.1002"].std() > 0

    def test_prompts_of_views_and_words_for_sides_count(self, executor):
        plain = run(executor, job(view_words=False)).tensors["texture/Ring"]
        assert (run(executor, job()).tensors["texture/Ring"] != plain).any()
        views = (replace(VIEWS[0], prompt="a red door " * 40), *VIEWS[1:])  # longer than a chunk of 75 tokens
        assert (run(executor, job(view_words=False, views=views)).tensors["texture/Ring"] != plain).any()


class TestLockedViews:
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_are_kept_to_the_byte_and_the_others_go_with_them(self, executor, method):
        locked = (replace(VIEWS[0], image="photo"), VIEWS[1], replace(VIEWS[2], image="photo2"))
        output = run(executor, job(views=locked, method=method)).tensors
        assert (output["view/0"] == TENSORS["photo"]).all()
        assert (output["view/2"] == TENSORS["photo2"]).all()
        other = run(executor, job(views=locked, method=method), {"photo": 255 - TENSORS["photo"]}).tensors
        assert (other["view/1"] != output["view/1"]).any()

    def test_all_of_them_are_only_fused(self, executor):
        made = run(executor, job())
        given = {f"made{i}": made.tensors[f"view/{i}"] for i in range(3)}
        views = tuple(replace(view, image=f"made{i}") for i, view in enumerate(VIEWS))
        hooks = Hooks()
        again = run(executor, job(views=views, texture_size=32), given, hooks)
        assert (again.tensors["texture/Ring"] == made.tensors["texture/Ring"]).all()
        assert not {stage for stage, *_ in hooks.stages} & {"loading", "denoising", "decoding"}


class TestBase:
    def test_is_kept_where_no_view_sees(self, executor):
        base = np.full((32, 32, 4), (10, 200, 30, 255), np.uint8)
        output = run(executor, job(views=VIEWS[:1], base=("base",)), {"base": base}).tensors
        unseen = output["weight/Ring"] == 0
        kept = (output["texture/Ring"][..., :3] == base[..., :3]).all(-1)
        assert kept[unseen].mean() > 0.7  # the padding of what is seen takes the rest
        assert not kept[output["weight/Ring"] == 255].any()

    def test_without_alpha_it_is_not_there(self, executor):
        base = np.full((32, 32, 4), (10, 200, 30, 0), np.uint8)
        one = job(views=VIEWS[:1])
        output = run(executor, replace(one, base=("base",)), {"base": base}).tensors
        assert (output["texture/Ring"] == run(executor, one).tensors["texture/Ring"]).all()


class TestCancel:
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_within_a_step(self, executor, method, after):
        hooks = Hooks(cancel_after=after)
        with pytest.raises(JobCancelled):
            run(executor, job(num_inference_steps=5, method=method), hooks=hooks)
        assert sum(stage == "denoising" for stage, *_ in hooks.stages) == after

    @pytest.mark.parametrize("stage", ["placing", "conditioning", "decoding", "projecting"])
    def test_at_each_stage(self, executor, stage):
        class UpTo(Hooks):
            def check_cancelled(self) -> None:
                if any(seen == stage for seen, *_ in self.stages):
                    raise JobCancelled

        hooks = UpTo()
        with pytest.raises(JobCancelled):
            run(executor, job(), hooks=hooks)
        assert hooks.stages[-1][0] == stage


class TestMemory:
    def test_fewer_views_at_once_when_it_runs_out(self, models_folder):
        executor = EngineExecutor((models_folder,), "cpu")
        model = executor._resident.model(executor._index.model("tiny"), Hooks())
        largest = []

        def limited(module, arguments):
            if len(arguments[0]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            largest.append(len(arguments[0]))

        model.unet.register_forward_pre_hook(limited)
        output = run(executor, job(controls=BOTH))
        assert output.provenance["views_at_once"] == 1
        assert set(largest) == {2}  # one view, with and without the prompt

    def test_too_little_for_one_offers_smaller_views(self, models_folder):
        executor = EngineExecutor((models_folder,), "cpu")
        model = executor._resident.model(executor._index.model("tiny"), Hooks())

        def exhausted(module, arguments):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        model.unet.register_forward_pre_hook(exhausted)
        views = tuple(TextureView(camera(a, side=256)) for a in (0.0, 90.0))
        error = error_of(executor, job(views=views, memory="off"))
        assert (error.code, error.info.retryable) == (ErrorCode.OUT_OF_MEMORY, True)
        assert (error.info.remedy.action, error.info.remedy.argument) == (RemedyAction.REDUCE_SIZE, "128x128")


class TestBadInput:
    def test_no_meshes(self, executor):
        error = error_of(executor, replace(job(), meshes=()))
        assert (error.code, error.info.field) == (ErrorCode.SCENE, "job.meshes")

    def test_no_faces(self, executor):
        empty = {"triangles": np.zeros((0, 3), np.int32), "normals": np.zeros((0, 3, 3), np.float32)}
        error = error_of(executor, job(), {**empty, "uvs": np.zeros((0, 3, 2), np.float32)})
        assert (error.code, error.info.field) == (ErrorCode.SCENE, "job.meshes[0]")

    @pytest.mark.parametrize("value", [0.5, np.nan])
    def test_uvs_without_area(self, executor, value):
        hooks = Hooks()
        with pytest.raises(ScumbleError) as caught:
            run(executor, job(), {"uvs": np.full_like(SHAPE.uvs, value)}, hooks)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.SCENE, "job.meshes[0].uvs")
        assert caught.value.info.remedy.action is RemedyAction.ADD_UV_MAP
        assert {stage for stage, *_ in hooks.stages} == {"placing"}

    def test_cameras_that_look_elsewhere(self, executor):
        away = pack_matrix(np.diag([-1.0, 1.0, -1.0, 1.0]) @ VIEWS[0].camera.view_matrix)
        error = error_of(executor, job(views=(TextureView(replace(VIEWS[0].camera, view=away)),)))
        assert (error.code, error.info.field) == (ErrorCode.SCENE, "job.views")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"method": "magic"}, "job.method"),
            ({"sampler": "magic"}, "job.sampler"),
            ({"model": "magic"}, "job.model"),
            ({"controls": (Control("canny"),)}, "job.controls[0].model"),
            ({"base": ("photo",)}, "job.base[0]"),
            ({"base": ("photo", "photo")}, "job.base"),
            ({"views": (TextureView(VIEWS[0].camera, image="uvs"),)}, "job.views[0].image"),
            ({"sampler": "lcm", "num_inference_steps": 500}, "job.num_inference_steps"),
        ],
    )
    def test_is_named(self, executor, changes, field):
        assert error_of(executor, job(**changes)).info.field == field
