"""Pictures with more pixels: of the right size and kind, without seams, and the same picture still."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scumble_server.engine.executor import EngineExecutor
from scumble_server.service import JobCancelled
from scumble_server.upscaling.layers import planes
from scumble_server.upscaling.resample import resample
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, UpscaleJob, View

from .conftest import Hooks, picture

SIDE = 96
WAVES = np.sin(np.arange(SIDE) / SIDE * 2.0 * np.pi * 3.0)
REPEATING = (((WAVES[:, None] + WAVES[None]) * 0.25 + 0.5)[..., None] * (255, 200, 120)).astype(np.uint8)
HOLED = np.dstack([picture(5, SIDE, SIDE), np.full((SIDE, SIDE), 255, np.uint8)])
HOLED[:, SIDE // 2 :] = (255, 0, 255, 0)
TENSORS = {
    "picture": picture(2, SIDE, SIDE),
    "wide": picture(3, 90, 50),
    "fine": (picture(2, SIDE, SIDE).astype(np.uint16) * 257),
    "repeating": REPEATING,
    "holed": HOLED,
    "depth": picture(4, SIDE, SIDE),
    "grey": picture(4, SIDE, SIDE)[..., 0],
}


CAMERA = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(0.9, 1.0, 0.1, 100.0), SIDE, SIDE, 0.1, 100.0)
VIEW = View(CAMERA, depth="z")
DEPTH = np.linspace(2, 6, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)


@pytest.fixture(scope="module")
def executor(models_folder, tmp_path_factory) -> EngineExecutor:
    """With a ControlNet for tiles: of the tiny model, by its size alone."""
    nets = tmp_path_factory.mktemp("nets")
    shutil.copytree(models_folder / "tiny" / "controlnet_depth", nets / "tiles")
    (nets / "tiles" / "scumble_model.json").write_text('{"family": "starter", "control_kinds": ["tile"]}')
    return EngineExecutor((models_folder, nets), "cpu")


def job(**changes) -> UpscaleJob:
    settings = {"image": "picture", "prompt": "a mossy wall", "num_inference_steps": 8, "sampler": "ddim"}
    settings |= {"denoising_strength": 0.4, "tile_size": 96, "tile_overlap": 32, "guidance_scale": 2.5}
    return UpscaleJob(**{**settings, **changes})


def run(executor, hooks=None, **changes) -> np.ndarray:
    return executor.run(job(**changes), TENSORS, hooks or Hooks(looking=False)).tensors["image/0"]


def error_of(executor, **changes) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        run(executor, **changes)
    return caught.value


class TestEveryMethod:
    @pytest.mark.parametrize("method", ["lanczos", "diffusion"])
    @pytest.mark.parametrize(("image", "factor"), [("wide", 2), ("wide", 4), ("fine", 2), ("holed", 2)])
    def test_sizes_and_kinds(self, executor, method, image, factor):
        given = TENSORS[image]
        made = run(executor, method=method, image=image, factor=factor, num_inference_steps=3)
        assert made.shape == (given.shape[0] * factor, given.shape[1] * factor, given.shape[2])
        assert made.dtype == given.dtype

    @pytest.mark.parametrize("method", ["lanczos", "diffusion"])
    def test_alpha_stays_and_nothing_bleeds_out_of_the_holes(self, executor, method):
        made = run(executor, method=method, image="holed")
        assert (made[:, : SIDE - 8, 3] == 255).all()
        assert (made[:, SIDE + 8 :, 3] == 0).all()
        painted = made[:, : SIDE - 4, :3].astype(int)
        filled = HOLED.copy()
        filled[:, SIDE // 2 :] = filled[:, SIDE // 2 - 1 : SIDE // 2]
        large = resample(planes(filled[..., :3]), 2 * SIDE, 2 * SIDE)[0].permute(1, 2, 0).numpy() * 255.0
        assert np.abs(painted[:, -8:] - large[:, SIDE - 12 : SIDE - 4]).mean() < 30.0

    @pytest.mark.parametrize("method", ["lanczos", "diffusion"])
    def test_it_is_the_same_picture_still(self, executor, method):
        """Shrunk again it is what it was."""
        small = run(executor, method=method).reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3))
        away = np.abs(small - TENSORS["picture"])
        assert away.mean() < (2.0 if method == "lanczos" else 20.0)

    @pytest.mark.parametrize("method", ["lanczos", "diffusion"])
    def test_what_repeats_goes_on_repeating(self, executor, method):
        made = run(executor, method=method, image="repeating", tiling="xy", denoising_strength=0.8).astype(float)
        cut = run(executor, method=method, image="repeating", tiling="", denoising_strength=0.8).astype(float)
        for axis in (0, 1):
            repeated, other = (seam(image, axis) for image in (made, cut))
            assert repeated < 2.5  # one edge among those the picture has; cut, it is 14 times theirs and more
            assert repeated < other


def seam(image: np.ndarray, axis: int) -> float:
    """Mean step over the edge, compared with that between other latent pixels."""
    steps = np.abs(np.diff(image, axis=axis, append=image.take([0], axis))).mean(axis=(1 - axis, 2))[7::8]
    return float(steps[-1] / steps[:-1].mean())


class TestDiffusion:
    def test_nothing_painted_anew_is_lanczos(self, executor):
        assert (run(executor, denoising_strength=0.0) == run(executor, method="lanczos")).all()

    def test_the_same_job_gives_the_same_pixels(self, executor):
        first, second, other = (run(executor, seed=seed, sampler="euler_a") for seed in (1, 1, 2))
        assert (first == second).all()
        assert (first != other).any()

    @pytest.mark.supports("enlarging", family="sd15")
    def test_no_seam_between_windows(self, executor):
        """Steps between neighbours where windows begin and end are as large as elsewhere; without overlap, 14 times."""
        made = run(executor, denoising_strength=0.7, tile_size=64, tile_overlap=16).astype(float)
        steps = np.abs(np.diff(made, axis=1)).mean(axis=(0, 2))[7::8]
        edges = np.isin(8 * np.arange(1, 24), (48, 64, 96, 112, 128, 160))  # of windows that begin 48 pixels apart
        assert steps[edges].mean() < 2.0 * steps[~edges].mean()

    def test_a_tile_control_is_shown_the_enlarged_picture(self, executor):
        large = {"large": run(executor, method="lanczos")}
        of_its_own, given, none = (
            executor.run(job(model="tiny", controls=controls), TENSORS | large, Hooks()).tensors["image/0"]
            for controls in ((Control("tile"),), (Control("tile", image="large"),), ())
        )
        assert (of_its_own == given).all()
        assert (of_its_own != none).any()

    def test_a_control_from_the_view(self, executor):
        controls = (Control("depth"),)
        plain, steered = (
            executor.run(job(controls=some, view=VIEW), TENSORS | {"z": DEPTH}, Hooks()).tensors["image/0"]
            for some in ((), controls)
        )
        assert (plain != steered).any()

    def test_a_model_made_for_inpainting_works_too(self, executor):
        assert run(executor, model="tiny-inpainting", num_inference_steps=3).shape == (2 * SIDE, 2 * SIDE, 3)

    def test_stages_are_told_and_fractions_never_fall(self, executor):
        hooks = Hooks()
        run(executor, hooks)
        stages = [stage for stage, *_ in hooks.stages if stage != "loading"]
        assert list(dict.fromkeys(stages)) == ["enlarging", "encoding", "denoising", "decoding"]
        fractions = [fraction for *_, fraction in hooks.stages if fraction is not None]
        assert fractions == sorted(fractions)
        assert hooks.previews

    def test_cancelled_between_windows(self, executor):
        for after in (0, 1):
            with pytest.raises(JobCancelled):
                run(executor, Hooks(cancel_after=after))


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "field", "code"),
        [
            ({"method": "magic"}, "job.method", ErrorCode.INVALID_FIELD),
            ({"image": "grey"}, "job.image", ErrorCode.INVALID_FIELD),
            ({"model": "startr"}, "job.model", ErrorCode.MODEL_MISSING),
            ({"method": "model", "upscaler": "sharp"}, "job.upscaler", ErrorCode.MODEL_MISSING),
            ({"sampler": "magic"}, "job.sampler", ErrorCode.UNSUPPORTED),
            ({"controls": (Control("depth"),)}, "job.controls[0].image", ErrorCode.INVALID_FIELD),
            ({"controls": (Control("pose", image="picture"),)}, "job.controls[0].model", ErrorCode.MODEL_MISSING),
        ],
    )
    def test_are_typed(self, executor, changes, field, code):
        error = error_of(executor, **changes)
        assert (error.info.field, error.code) == (field, code)

    def test_a_prompt_is_all_the_same_to_resampling(self, executor):
        plain = run(executor, method="lanczos", prompt="")
        assert (plain == run(executor, method="lanczos", model="startr", sampler="magic")).all()
