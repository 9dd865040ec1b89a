"""Pictures that can be laid side by side: what is right of the right edge is the left edge, and nobody else notices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier

import numpy as np
import pytest
import torch
from diffusers.models.downsampling import Downsample2D
from scumble_server.engine.denoise import denoise
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.latents import decode, draw, generators_for, moments
from scumble_server.engine.pixels import to_unit_range
from scumble_server.engine.samplers import make_scheduler
from scumble_server.engine.seamless import seamless, tiling_now
from scumble_server.service import JobCancelled
from scumble_shared.errors import ScumbleError
from scumble_shared.job import Control, GenerateJob

from .conftest import Hooks, picture

SIDE = 128


@pytest.fixture(scope="module")
def executor(models_folder) -> EngineExecutor:
    return EngineExecutor((models_folder,), "cpu")


def job(**changes) -> GenerateJob:
    """By the model that ships with the package: its pictures are smooth enough for a seam to be seen."""
    settings = {
        "prompt": "mossy stone wall",
        "width": SIDE,
        "height": SIDE,
        "num_inference_steps": 3,
        "sampler": "ddim",
    }
    return GenerateJob(**{**settings, "guidance_scale": 3.0, "tiling": "xy", **changes})


TENSORS = {
    "picture": picture(3, SIDE, SIDE),
    "rim": np.pad(np.zeros((SIDE // 2, SIDE // 2), np.uint8), SIDE // 4, constant_values=255),
    "all": np.full((SIDE, SIDE), 255, np.uint8),
    "flat": np.broadcast_to(np.array([128, 128, 255], np.uint8), (SIDE, SIDE, 3)).copy(),
}


def made(executor, hooks=None, **changes) -> np.ndarray:
    return executor.run(job(**changes), TENSORS, hooks or Hooks(looking=False)).tensors["image/0"].astype(float)


def seam(image: np.ndarray, axis: int, latent: int) -> float:
    """Mean step over the edge, compared with that between the other latent pixels, where steps are largest."""
    steps = np.abs(np.diff(image, axis=axis, append=image.take([0], axis))).mean(axis=(1 - axis, 2))[
        latent - 1 :: latent
    ]
    return float(steps[-1] / steps[:-1].mean())


def seams(executor, latent=8, **changes) -> tuple[float, float]:
    """Left to right and top to bottom, over some seeds: steps of one row vary by a quarter from row to row."""
    images = [made(executor, seed=seed, **changes) for seed in range(5)]
    return tuple(float(np.mean([seam(image, axis, latent) for image in images])) for axis in (1, 0))


SEAMLESS = pytest.approx(1.0, abs=0.3)


class TestSeams:
    @pytest.mark.supports("seamless pictures", family="sd15")
    def test_text_to_image(self, executor):
        assert seams(executor) == (SEAMLESS, SEAMLESS)

    def test_one_direction_alone(self, executor):
        across, down = seams(executor, tiling="x")
        assert across == SEAMLESS
        assert down > 3.0
        across, down = seams(executor, tiling="y")
        assert across > 3.0
        assert down == SEAMLESS

    def test_without_it_there_is_one(self, executor):
        assert min(seams(executor, tiling="")) > 3.0

    def test_image_to_image(self, executor):
        assert seams(executor, init_image="picture", denoising_strength=1.0) == (SEAMLESS, SEAMLESS)

    def test_inpainting_the_rim_of_a_picture_makes_it_seamless(self, executor):
        assert min(seam(TENSORS["picture"].astype(float), axis, 1) for axis in (0, 1)) > 5.0
        # Where the kept part begins there are steps, too, with which the seam is compared.
        assert max(seams(executor, init_image="picture", mask="rim")) < 1.3
        image = made(executor, init_image="picture", mask="rim")
        kept = TENSORS["rim"] == 0
        assert (image[kept] == TENSORS["picture"][kept]).all()

    def test_with_controlnets(self, executor):
        assert seams(executor, controls=(Control("normal", image="flat"),)) == (SEAMLESS, SEAMLESS)

    def test_inpainting_models(self, executor):
        made(executor, model="tiny-inpainting", init_image="picture", mask="all")

    def test_sizes_that_are_no_whole_steps(self, executor):
        for width, height in ((100, 72), (8, 8), (61, 129)):
            assert made(executor, width=width, height=height).shape == (height, width, 3)
        plain, found = (
            np.mean([seam(made(executor, width=120, height=90, seed=seed, tiling=tiling), 0, 1) for seed in range(4)])
            for tiling in ("", "xy")
        )
        assert found < plain / 3.0

    def test_previews(self, executor):
        hooks = Hooks()
        for seed in range(4):
            made(executor, hooks, num_inference_steps=4, seed=seed)
        found = [seam(image.astype(float), axis, 8) for image in hooks.previews for axis in (0, 1)]
        assert len(found) >= 8
        assert np.mean(found) == pytest.approx(1.0, abs=0.4)


class TestEquivariance:
    """Rolled by a whole step of the deepest level, the noise gives the rolled picture."""

    @pytest.mark.supports("seamless pictures")
    @pytest.mark.parametrize("tiling", ["x", "y", "xy"])
    @pytest.mark.parametrize("family", ["sd15", "sdxl"])
    def test_denoised_and_decoded(self, tiny, families, family, tiling):
        model = tiny if family == "sd15" else families[family].model
        step = model.stride // model.scale
        text = model.prompt_encoder.text(["moss"], "", 4.0)
        noise = draw((model.latent_channels, 2 * step, 2 * step), generators_for(0, 1), torch.device("cpu"))
        shift = (step if "y" in tiling else 0, step if "x" in tiling else 0)

        def painted(latents):
            scheduler = make_scheduler("ddim", model.scheduler_config)
            scheduler.set_timesteps(3)
            clean = denoise(model.network, scheduler, scheduler.timesteps, latents, text, [], [], Hooks())
            return decode(model, clean)[0].astype(int)

        with seamless([model.network.module, model.vae], tiling):
            plain, rolled = painted(noise), painted(noise.roll(shift, (2, 3)))
        assert np.abs(np.roll(plain, [s * model.scale for s in shift], (0, 1)) - rolled).max() <= 1
        assert np.abs(plain - rolled).max() > 8

    def test_encoded(self, tiny):
        image = to_unit_range(picture(2, 128, 128))
        shift = (tiny.scale, 3 * tiny.scale)
        with seamless([tiny.vae], "xy"):
            plain, rolled = moments(tiny, image)[0], moments(tiny, image.roll(shift, (2, 3)))[0]
        torch.testing.assert_close(plain.roll((1, 3), (2, 3)), rolled, rtol=0.0, atol=1e-4)


class TestNothingIsLeftBehind:
    def test_other_jobs_are_what_they_were_to_the_bit(self, executor):
        plain = {"tiling": "", "controls": (Control("normal", image="flat"),), "init_image": "picture"}
        before = made(executor, **plain)
        inside = made(executor, **{**plain, "tiling": "xy"})
        assert (made(executor, **plain) == before).all()
        assert (made(executor, **{**plain, "tiling": "xy"}) == inside).all()
        assert (inside != before).any()

    def test_nor_by_jobs_that_fail_or_are_cancelled(self, executor):
        before = made(executor, tiling="")
        with pytest.raises(JobCancelled):
            made(executor, Hooks(cancel_after=1))
        with pytest.raises(ScumbleError):
            made(executor, mask="mask")
        assert tiling_now() == ""
        assert (made(executor, tiling="") == before).all()

    def test_modules_are_as_before(self, tiny):
        modules = [part for part in tiny.vae.modules() if isinstance(part, torch.nn.Conv2d)]
        before = [dict(vars(part)) for part in modules]
        tiny.vae.enable_tiling()
        with seamless([tiny.vae], "x"):
            assert not tiny.vae.use_tiling
            assert any(vars(part) != old for part, old in zip(modules, before, strict=True))
        assert tiny.vae.use_tiling
        tiny.vae.disable_tiling()
        assert [dict(vars(part)) for part in modules] == before

    def test_other_threads_see_nothing_of_it(self, tiny):
        latents = draw((4, 16, 16), generators_for(1, 1), torch.device("cpu"))
        together = Barrier(3)

        def decoded(tiling: str) -> np.ndarray:
            with seamless([tiny.vae], tiling):
                together.wait()
                image = decode(tiny, latents)[0]
                together.wait()
            return image

        alone = [decode_with(tiny, latents, tiling) for tiling in ("", "x", "xy")]
        with ThreadPoolExecutor(3) as pool:
            at_once = list(pool.map(decoded, ("", "x", "xy")))
        assert all((one == other).all() for one, other in zip(alone, at_once, strict=True))
        assert (alone[0] != alone[1]).any()


def decode_with(model, latents, tiling: str) -> np.ndarray:
    with seamless([model.vae], tiling) if tiling else nullcontext():
        return decode(model, latents)[0]


class TestConvolution:
    @pytest.mark.parametrize("tiling", ["x", "y", "xy"])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_is_that_of_the_picture_laid_side_by_side(self, tiling, stride):
        conv = torch.nn.Conv2d(2, 3, 3, stride=stride, padding=1)
        image = torch.randn(1, 2, 8, 8)
        repeats = (3 if "y" in tiling else 1, 3 if "x" in tiling else 1)
        around = conv(image.repeat(1, 1, *repeats))
        rows, columns = (slice(8 // stride, 16 // stride) if r == 3 else slice(None) for r in repeats)
        with seamless([conv], tiling):
            found = conv(image)
        torch.testing.assert_close(found, around[..., rows, columns])

    @pytest.mark.parametrize("tiling", ["x", "xy"])
    def test_padded_to_the_right_and_below(self, tiling):
        down = Downsample2D(2, use_conv=True, padding=0)
        image = torch.randn(1, 2, 8, 8)
        repeats = (2 if "y" in tiling else 1, 2 if "x" in tiling else 1)
        around = down(image.repeat(1, 1, *repeats))
        with seamless([down], tiling):
            found = down(image)
        torch.testing.assert_close(found, around[..., :4, :4])
