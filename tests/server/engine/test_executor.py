"""The engine as the worker uses it: jobs in, pictures and typed errors out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scumble_server.engine.device import Device, resolve_device
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.families import family_of
from scumble_server.engine.generate import Timings, generate
from scumble_server.models.library import Library
from scumble_server.models.library_import import import_model
from scumble_server.models.seeded import write_seeded_model
from scumble_server.models.transfer_http import Network
from scumble_server.service import Executor, JobCancelled
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import SAMPLERS, Control, ControlImagesJob, GenerateJob, View

from .conftest import Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 64
CAMERA = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(math.radians(50), 1.0, 0.1, 100), SIDE, SIDE, 0.1, 100)
DEPTH = np.linspace(2, 6, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
NORMAL = np.broadcast_to(np.array([0, 0, 1], np.float16), (SIDE, SIDE, 3))
VIEW = View(CAMERA, depth="depth", normal="normal")
TENSORS = {"depth": DEPTH, "normal": NORMAL, "image": picture(1), "mask": np.full((SIDE, SIDE), 255, np.uint8)}
BOTH = (Control("depth"), Control("normal"))


@pytest.fixture(scope="module")
def executor(models_folder) -> Executor:
    return EngineExecutor((models_folder,), "cpu")


def job(**changes) -> GenerateJob:
    settings = {"prompt": "a brick wall", "model": "tiny", "width": SIDE, "height": SIDE, "num_inference_steps": 3}
    return GenerateJob(**{**settings, **changes})


def run(executor, job, tensors=None, hooks=None):
    return executor.run(job, TENSORS if tensors is None else tensors, hooks or Hooks())


def error_of(executor, job, tensors=None) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        run(executor, job, tensors)
    return caught.value


class TestGenerate:
    def test_images_have_the_size_asked_for(self, executor):
        output = run(executor, job(controls=BOTH, view=VIEW, batch_size=2))
        assert list(output.tensors) == ["image/0", "image/1"]
        for image in output.tensors.values():
            assert image.shape == (SIDE, SIDE, 3)
            assert image.dtype == np.uint8
        assert output.provenance["device"].startswith("CPU")

    def test_the_same_job_gives_the_same_pixels(self, executor):
        again = job(controls=BOTH, view=VIEW, sampler="euler_a")
        first, second = (run(executor, again).tensors["image/0"] for _ in range(2))
        assert (first == second).all()
        assert (first != run(executor, replace(again, seed=1)).tensors["image/0"]).any()

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (63, 65), (100, 8), (72, 56)])
    def test_any_size(self, executor, width, height):
        controls = job(width=width, height=height, controls=BOTH, view=VIEW, num_inference_steps=2)
        assert run(executor, controls).tensors["image/0"].shape == (height, width, 3)
        repaint = replace(controls, init_image="image", mask="mask", denoising_strength=0.5)
        assert run(executor, repaint).tensors["image/0"].shape == (height, width, 3)

    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.parametrize("steps", [1, 2])
    def test_few_steps(self, executor, sampler, steps):
        assert run(executor, job(sampler=sampler, num_inference_steps=steps)).tensors["image/0"].std() > 0

    @pytest.mark.parametrize("seed", [-1, 2**63 - 1, 2**64])
    def test_any_seed(self, executor, seed):
        assert len(run(executor, job(seed=seed, batch_size=2)).tensors) == 2

    def test_an_image_as_the_control(self, executor):
        own = run(executor, job(controls=(Control("depth", image="image"),))).tensors["image/0"]
        without = run(executor, job()).tensors["image/0"]
        assert (own != without).any()

    def test_strength_zero_is_no_control_at_all(self, executor):
        off = run(executor, job(controls=(Control("depth", strength=0.0),), view=VIEW)).tensors["image/0"]
        assert (off == run(executor, job()).tensors["image/0"]).all()

    def test_denoising_strength_zero_returns_the_image(self, executor):
        output = run(executor, job(init_image="image", denoising_strength=0.0))
        assert (output.tensors["image/0"] == TENSORS["image"]).all()

    def test_what_the_mask_keeps_is_kept_to_the_byte(self, executor):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[10:20, 13:17] = 255
        mask[30, :] = 128
        output = run(executor, job(init_image="image", mask="mask"), {**TENSORS, "mask": mask})
        changed = (output.tensors["image/0"] != TENSORS["image"]).any(axis=-1)
        assert not changed[mask == 0].any()
        assert changed[10:20, 13:17].mean() > 0.9

    def test_inpainting_model_without_an_image_paints_everything(self, executor):
        assert run(executor, job(model="tiny-inpainting")).tensors["image/0"].std() > 0

    def test_progress_and_previews(self, executor):
        hooks = Hooks()
        run(executor, job(num_inference_steps=4), hooks=hooks)
        fractions = [fraction for *_, fraction in hooks.stages if fraction is not None]
        assert fractions == sorted(fractions)
        assert [entry[1:3] for entry in hooks.stages if entry[0] == "denoising"] == [(i, 4) for i in (1, 2, 3, 4)]
        assert 1 <= len(hooks.previews) <= 3
        assert all(preview.dtype == np.uint8 and preview.shape == (SIDE, SIDE, 3) for preview in hooks.previews)

    def test_nobody_looks_nothing_is_drawn(self, executor):
        hooks = Hooks(looking=False)
        run(executor, job(), hooks=hooks)
        assert hooks.previews == []

    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_cancel_takes_effect_within_a_step(self, executor, after):
        hooks = Hooks(cancel_after=after)
        with pytest.raises(JobCancelled):
            run(executor, job(num_inference_steps=6), hooks=hooks)
        assert sum(stage == "denoising" for stage, *_ in hooks.stages) == after

    def test_a_job_after_a_cancelled_one_is_not_touched_by_it(self, executor):
        fresh = run(executor, job(sampler="euler_a")).tensors["image/0"]
        with pytest.raises(JobCancelled):
            run(executor, job(sampler="euler_a"), hooks=Hooks(cancel_after=1))
        assert (run(executor, job(sampler="euler_a")).tensors["image/0"] == fresh).all()


class TestControlImages:
    def test_they_are_what_a_generation_sees(self, executor):
        output = run(executor, ControlImagesJob(BOTH, VIEW, 48, 40))
        assert {name: image.shape for name, image in output.tensors.items()} == {
            "control/0": (40, 48, 3),
            "control/1": (40, 48, 3),
        }
        seen = run(executor, ControlImagesJob(BOTH, VIEW, SIDE, SIDE)).tensors
        given = {**TENSORS, "a": seen["control/0"], "b": seen["control/1"]}
        from_view = run(executor, job(controls=BOTH, view=VIEW)).tensors["image/0"]
        controls = (Control("depth", image="a"), Control("normal", image="b"))
        assert (from_view == run(executor, job(controls=controls), given).tensors["image/0"]).all()


class TestErrors:
    def test_unknown_model_offers_one_that_works(self, executor):
        for name in ("nowhere", "../tiny", "/etc/passwd", ""):
            error = error_of(executor, job(model=name))
            assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.model")
            assert error.info.remedy.action == RemedyAction.CHOOSE_MODEL
            assert error.info.remedy.argument == "starter"

    def test_unknown_sampler(self, executor):
        error = error_of(executor, job(sampler="magic"))
        assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "job.sampler")

    def test_too_many_steps_for_a_sampler(self, executor):
        error = error_of(executor, job(sampler="lcm", num_inference_steps=500))
        assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "job.num_inference_steps")

    def test_no_controlnet_for_a_kind(self, executor):
        error = error_of(executor, job(controls=(Control("depth"), Control("canny")), view=VIEW))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.controls[1].model")
        assert error.info.remedy.argument == "1"

    def test_control_without_image_or_view(self, executor):
        assert error_of(executor, job(controls=BOTH)).info.field == "job.controls[0].image"

    def test_depth_that_is_no_number(self, executor):
        bad = {**TENSORS, "depth": np.full((SIDE, SIDE), np.nan, np.float32)}
        assert error_of(executor, job(controls=BOTH, view=VIEW), bad).info.field == "job.view.depth"

    def test_mask_without_image(self, executor):
        assert error_of(executor, job(mask="mask")).info.field == "job.init_image"

    @pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
    def test_image_that_is_none(self, executor, image):
        error = error_of(executor, job(init_image="image"), {"image": image})
        assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "job.init_image")

    def test_mask_that_is_none(self, executor):
        bad = {**TENSORS, "mask": np.zeros((4, 4, 3), np.uint8)}
        assert error_of(executor, job(init_image="image", mask="mask"), bad).info.field == "job.mask"

    def test_unknown_device(self):
        for name in ("tpu", "cuda:99", ""):
            with pytest.raises(ScumbleError) as caught:
                EngineExecutor((), name)
            assert caught.value.code == ErrorCode.UNSUPPORTED

    def test_numbers_that_are_none_are_not_shown(self, models_folder, tmp_path):
        """A model gone bad (here: one weight) is an error with a remedy, not a black picture."""
        write_seeded_model(tmp_path / "bad")
        executor = EngineExecutor((tmp_path,), "cpu")
        model = executor._resident.model(executor._index.model("bad"), Hooks())
        with torch.no_grad():
            model.unet.conv_in.weight[0] = torch.nan
        error = error_of(executor, job(model="bad"))
        assert error.code == ErrorCode.INVALID_RESULT
        assert error.info.remedy is not None

    def test_memory_that_does_not_suffice_offers_a_smaller_size(self, models_folder):
        executor = EngineExecutor((models_folder,), "cpu")
        model = executor._resident.model(executor._index.model("tiny"), Hooks())

        def exhausted(module, arguments):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        model.unet.register_forward_pre_hook(exhausted)
        error = error_of(executor, job(width=1024, height=512, memory="off"))
        assert (error.code, error.info.retryable) == (ErrorCode.OUT_OF_MEMORY, True)
        assert (error.info.remedy.action, error.info.remedy.argument) == (RemedyAction.REDUCE_SIZE, "704x320")


class TestModelsAreKept:
    def test_a_second_job_loads_nothing(self, executor):
        run(executor, job(controls=BOTH, view=VIEW))
        hooks = Hooks()
        run(executor, job(controls=BOTH, view=VIEW, prompt="another"), hooks=hooks)
        assert "loading" not in {stage for stage, *_ in hooks.stages}

    def test_models_take_turns(self, executor):
        first = run(executor, job()).tensors["image/0"]
        run(executor, job(model="tiny-inpainting"))
        assert (run(executor, job()).tensors["image/0"] == first).all()

    def test_warm_up_makes_the_default_model_ready(self, models_folder):
        executor = EngineExecutor((models_folder,), "cpu")
        executor.warm_up(Hooks())
        hooks = Hooks()
        run(executor, job(model="starter", controls=BOTH, view=VIEW, num_inference_steps=1), hooks=hooks)
        assert "loading" not in {stage for stage, *_ in hooks.stages}


class _Watch:
    """Nobody looks at how an import gets on."""

    def progress(self, done: int, total: int | None) -> None:
        pass

    def check_cancelled(self) -> None:
        pass


class TestModelsInTheLibrary:
    """A model that is loaded can't be deleted under the engine's feet."""

    @pytest.fixture
    def library(self, tmp_path) -> Library:
        write_seeded_model(tmp_path / "original")
        library = Library(tmp_path / "library")
        for name in ("first", "second"):
            import_model(library, tmp_path / "original", _Watch(), Network(), model_id=name)
        return library

    def test_it_is_in_use_while_it_is_loaded(self, library):
        executor = EngineExecutor((library.folder,), "cpu")
        run(executor, job(model="first"))
        with pytest.raises(ScumbleError) as caught:
            library.delete("first", confirmed=True)
        assert caught.value.code == ErrorCode.IN_USE
        run(executor, job(model="second"))
        library.delete("first", confirmed=True)
        assert run(executor, job(model="second")).tensors["image/0"].any()

    def test_one_that_is_being_replaced_is_not_loaded(self, library):
        executor = EngineExecutor((library.folder,), "cpu")
        with library.changing("first"):
            error = error_of(executor, job(model="first"))
        assert (error.code, error.info.field, error.info.retryable) == (ErrorCode.IN_USE, "job.model", True)
        assert run(executor, job(model="first")).tensors["image/0"].any()

    def test_one_that_could_not_be_loaded_is_let_go(self, library):
        executor = EngineExecutor((library.folder,), "cpu")
        weights = library.folder / "first" / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(b"")
        assert error_of(executor, job(model="first")).code == ErrorCode.MODEL_INVALID
        library.delete("first", confirmed=True)


def test_half_precision_gives_the_same_picture_to_the_eye(entries, tiny):
    """What CPUs with matrix units use; GPUs' float16 is finer."""
    device = Device(torch.device("cpu"), torch.bfloat16, "CPU")
    half = family_of("starter").load_model(entries["tiny"], device)
    assert (half.unet.dtype, half.vae.dtype) == (torch.bfloat16, torch.float32)
    images = [generate(job(), model, [], {}, Hooks(), Timings())[0].astype(float) for model in (tiny, half)]
    assert ((images[0] - images[1]) ** 2).mean() < 4.0


def test_the_device_is_one_that_runs():
    device = resolve_device("auto")
    assert (torch.ones(2, device=device.torch_device, dtype=device.dtype) + 1).sum().item() == 4


def test_a_model_that_came_since_is_found(tmp_path):
    executor = EngineExecutor((tmp_path,), "cpu")
    assert error_of(executor, job(model="late")).code == ErrorCode.MODEL_MISSING
    write_seeded_model(tmp_path / "late")
    assert run(executor, job(model="late")).tensors["image/0"].shape == (SIDE, SIDE, 3)


def test_capabilities_name_models_controls_and_device(executor):
    capabilities = executor.capabilities()
    assert capabilities.models[0].id == "starter"
    assert {model.id for model in capabilities.models} == {"starter", "tiny", "tiny-inpainting"}
    assert capabilities.models[0].control_kinds == ("depth", "normal")
    assert capabilities.samplers == SAMPLERS
    assert capabilities.device.startswith("CPU")
