"""Our denoise loop gives the pixels of diffusers' own pipelines, from the same components and inputs.

Tolerance: no channel of any pixel differs by more than one level of 255, at most one in a hundred by that. Not bit for
bit, because a control image is embedded once and not per half of the batch, which sums in another order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    TCDScheduler,
)
from PIL import Image
from scumble_server.engine.extensions.controls import ActiveControl
from scumble_server.engine.families import family_of
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.samplers import TABLE
from scumble_shared.job import SAMPLERS, GenerateJob

from .conftest import CPU, Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPT, NEGATIVE = "a mossy brick wall at dusk", "blurry"
STEPS = 5


@pytest.fixture(scope="module")
def reference_nets(models_folder) -> dict[str, ControlNetModel]:
    return {
        kind: ControlNetModel.from_pretrained(models_folder / "tiny" / f"controlnet_{kind}")
        for kind in ("depth", "normal")
    }


@pytest.fixture(scope="module")
def nets(tiny):
    return {kind: family_of("starter").load_controlnet(entry, tiny) for kind, entry in tiny.entry.controlnets.items()}


def pipeline(kind, model, sampler, controlnet=None):
    scheduler_class, settings = TABLE[sampler]
    components = {
        "vae": model.vae,
        "text_encoder": model.prompt_encoder._text_encoder,
        "tokenizer": model.prompt_encoder._tokenizer,
        "unet": model.unet,
        "scheduler": scheduler_class.from_config(model.scheduler_config, **settings),
        "safety_checker": None,
        "feature_extractor": None,
    }
    if controlnet is not None:
        components["controlnet"] = controlnet
    made = kind(**components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def pixels_of(pipe, seed, **arguments) -> np.ndarray:
    """Where steps take a share of noise, pipelines say none unless they are told; TCD's own is 0.3."""
    if isinstance(pipe.scheduler, TCDScheduler):
        arguments["eta"] = 0.3
    images = pipe(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        generator=torch.Generator().manual_seed(seed),
        num_inference_steps=STEPS,
        output_type="np",
        **arguments,
    ).images
    return (images[0] * 255).round().astype(np.uint8)


def job(**changes) -> GenerateJob:
    settings = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "width": 64, "height": 64, "seed": 7}
    return GenerateJob(**{**settings, "num_inference_steps": STEPS, "guidance_scale": 4.0, **changes})


def run(job, model, controls=(), tensors=None) -> list[np.ndarray]:
    return generate(job, model, list(controls), tensors or {}, Hooks(looking=False), Timings())


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.std() > 8, "a flat picture would prove nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    @pytest.mark.supports("text-to-image", family="sd15", equal=True)
    @pytest.mark.supports("diffusers folder", family="sd15", equal=True)
    def test_text_to_image(self, tiny, sampler):
        theirs = pixels_of(pipeline(StableDiffusionPipeline, tiny, sampler), 7, guidance_scale=4.0, width=64, height=64)
        assert_same(run(job(sampler=sampler), tiny)[0], theirs)

    @pytest.mark.supports("text-to-image + ControlNet", family="sd15", equal=True)
    def test_one_controlnet(self, tiny, nets, reference_nets, sampler):
        image = picture(1)
        theirs = pixels_of(
            pipeline(StableDiffusionControlNetPipeline, tiny, sampler, reference_nets["depth"]),
            7,
            image=Image.fromarray(image),
            guidance_scale=4.0,
            controlnet_conditioning_scale=0.8,
        )
        control = ActiveControl(nets["depth"], image, 0.8, 0.0, 1.0)
        assert_same(run(job(sampler=sampler), tiny, [control])[0], theirs)

    @pytest.mark.supports("image-to-image + ControlNet", family="sd15", equal=True)
    def test_image_to_image(self, tiny, nets, reference_nets, sampler):
        start, image = picture(2), picture(1)
        theirs = pixels_of(
            pipeline(StableDiffusionControlNetImg2ImgPipeline, tiny, sampler, reference_nets["depth"]),
            7,
            image=Image.fromarray(start),
            control_image=Image.fromarray(image),
            strength=0.6,
            guidance_scale=4.0,
            controlnet_conditioning_scale=1.0,
        )
        control = ActiveControl(nets["depth"], image, 1.0, 0.0, 1.0)
        ours = run(job(sampler=sampler, init_image="i", denoising_strength=0.6), tiny, [control], {"i": start})
        assert_same(ours[0], theirs)

    @pytest.mark.supports("inpainting + ControlNet", family="sd15", equal=True)
    @pytest.mark.parametrize("strength", [1.0, 0.6])
    def test_inpainting_with_four_channels(self, tiny, nets, reference_nets, sampler, strength):
        start, image, mask = picture(2), picture(1), MASK
        theirs = pixels_of(
            pipeline(StableDiffusionControlNetInpaintPipeline, tiny, sampler, reference_nets["depth"]),
            7,
            image=Image.fromarray(start),
            mask_image=Image.fromarray(mask),
            control_image=Image.fromarray(image),
            strength=strength,
            guidance_scale=4.0,
        )
        control = ActiveControl(nets["depth"], image, 0.5, 0.0, 1.0)
        ours = run(
            job(sampler=sampler, init_image="i", mask="m", denoising_strength=strength),
            tiny,
            [control],
            {"i": start, "m": mask},
        )
        assert_same(ours[0][MASK > 0], theirs[MASK > 0])
        assert (ours[0][MASK == 0] == start[MASK == 0]).all()

    @pytest.mark.supports("models made for inpainting", family="sd15", equal=True)
    @pytest.mark.parametrize("strength", [1.0, 0.6])
    def test_inpainting_with_nine_channels(self, tiny_inpainting, sampler, strength):
        start, mask = picture(2), MASK
        theirs = pixels_of(
            pipeline(StableDiffusionInpaintPipeline, tiny_inpainting, sampler),
            7,
            image=Image.fromarray(start),
            mask_image=Image.fromarray(mask),
            width=64,
            height=64,
            strength=strength,
            guidance_scale=4.0,
        )
        ours = run(
            job(sampler=sampler, init_image="i", mask="m", denoising_strength=strength),
            tiny_inpainting,
            (),
            {"i": start, "m": mask},
        )
        assert_same(ours[0][MASK > 0], theirs[MASK > 0])


MASK = np.zeros((64, 64), np.uint8)
MASK[16:48, 8:40] = 255
"""Aligned to latent pixels: elsewhere diffusers takes one pixel of each 8 x 8, we any."""


@pytest.mark.supports("text-to-image + several ControlNets", family="sd15", equal=True)
def test_several_controlnets_in_parts_of_the_steps(tiny, nets, reference_nets):
    images = {"depth": picture(1), "normal": picture(3)}
    pipe = pipeline(StableDiffusionControlNetPipeline, tiny, "dpmpp_2m_karras", list(reference_nets.values()))
    theirs = pixels_of(
        pipe,
        7,
        image=[Image.fromarray(image) for image in images.values()],
        guidance_scale=4.0,
        controlnet_conditioning_scale=[0.9, 0.4],
        control_guidance_start=[0.0, 0.4],
        control_guidance_end=[0.6, 1.0],
    )
    controls = [
        ActiveControl(nets["depth"], images["depth"], 0.9, 0.0, 0.6),
        ActiveControl(nets["normal"], images["normal"], 0.4, 0.4, 1.0),
    ]
    assert_same(run(job(), tiny, controls)[0], theirs)


@pytest.mark.supports("image-to-image + several ControlNets", family="sd15", equal=True)
@pytest.mark.supports("inpainting + several ControlNets", family="sd15", equal=True)
@pytest.mark.parametrize("task", ["image-to-image", "inpainting"])
def test_several_controlnets_on_a_picture(tiny, nets, reference_nets, task):
    images, start = [picture(1), picture(3)], picture(2)
    kind, more = {
        "image-to-image": (StableDiffusionControlNetImg2ImgPipeline, {}),
        "inpainting": (StableDiffusionControlNetInpaintPipeline, {"mask_image": Image.fromarray(MASK)}),
    }[task]
    theirs = pixels_of(
        pipeline(kind, tiny, "euler", list(reference_nets.values())),
        7,
        image=Image.fromarray(start),
        control_image=[Image.fromarray(image) for image in images],
        controlnet_conditioning_scale=[0.9, 0.4],
        strength=0.8,
        guidance_scale=4.0,
        **more,
    )
    controls = [
        ActiveControl(net, image, strength, 0.0, 1.0)
        for net, image, strength in zip(nets.values(), images, (0.9, 0.4), strict=True)
    ]
    one = job(sampler="euler", init_image="i", mask="m" if more else None, denoising_strength=0.8)
    mine = run(one, tiny, controls, {"i": start, "m": MASK})[0]
    seen = MASK > 0 if more else MASK >= 0
    assert_same(mine[seen], theirs[seen])


@pytest.mark.supports("inpainting, outpainting", family="sd15", equal=True)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpainting_without_control(tiny, strength):
    start, rim = picture(2), 255 - MASK
    for mask in (MASK, rim):  # a hole, and all around a picture, which is to outpaint
        theirs = pixels_of(
            pipeline(StableDiffusionInpaintPipeline, tiny, "euler"),
            7,
            image=Image.fromarray(start),
            mask_image=Image.fromarray(mask),
            width=64,
            height=64,
            strength=strength,
            guidance_scale=4.0,
        )
        changes = {"sampler": "euler", "init_image": "i", "mask": "m", "denoising_strength": strength}
        mine = run(job(**changes), tiny, (), {"i": start, "m": mask})[0]
        assert_same(mine[mask > 0], theirs[mask > 0])
        assert (mine[mask == 0] == start[mask == 0]).all()


@pytest.mark.parametrize(("start", "end"), [(0.4, 1.0), (0.0, 0.4), (0.3, 0.7)])
def test_a_control_that_pauses(tiny, nets, reference_nets, start, end):
    image = picture(1)
    theirs = pixels_of(
        pipeline(StableDiffusionControlNetPipeline, tiny, "euler", reference_nets["depth"]),
        7,
        image=Image.fromarray(image),
        guidance_scale=4.0,
        control_guidance_start=start,
        control_guidance_end=end,
    )
    ours = run(job(sampler="euler"), tiny, [ActiveControl(nets["depth"], image, 1.0, start, end)])
    assert_same(ours[0], theirs)


@pytest.mark.supports("made for few steps", family="sd15", equal=True)
def test_without_guidance(tiny):
    pipe = pipeline(StableDiffusionPipeline, tiny, "lcm")
    theirs = pixels_of(pipe, 7, guidance_scale=1.0, width=64, height=64)
    assert_same(run(job(sampler="lcm", guidance_scale=1.0), tiny)[0], theirs)


@pytest.mark.supports("image-to-image", family="sd15", equal=True)
def test_image_to_image_without_control(tiny):
    start = picture(2)
    pipe = pipeline(StableDiffusionImg2ImgPipeline, tiny, "ddim")
    theirs = pixels_of(pipe, 7, image=Image.fromarray(start), strength=0.5, guidance_scale=4.0)
    ours = run(job(sampler="ddim", init_image="i", denoising_strength=0.5), tiny, (), {"i": start})
    assert_same(ours[0], theirs)


@pytest.mark.supports("v-prediction, zero terminal SNR", family="sd15", equal=True)
@pytest.mark.parametrize("sampler", ["ddim", "euler_a", "dpmpp_2m"])
def test_v_prediction(entries, sampler):
    entry = replace(entries["tiny"], prediction_type="v_prediction", zero_terminal_snr=True)
    model = family_of("starter").load_model(entry, CPU)
    assert model.scheduler_config["prediction_type"] == "v_prediction"
    pipe = pipeline(StableDiffusionPipeline, model, sampler)
    theirs = pixels_of(pipe, 7, guidance_scale=4.0, width=64, height=64)
    assert_same(run(job(sampler=sampler), model)[0], theirs)


def test_images_of_a_batch_are_those_of_their_seeds(tiny, nets):
    control = ActiveControl(nets["depth"], picture(1), 1.0, 0.0, 1.0)
    start = {"i": picture(2)}
    changes = {"sampler": "euler_a", "init_image": "i", "denoising_strength": 0.8}
    batch = run(job(batch_size=3, **changes), tiny, [control], start)
    assert len(batch) == 3
    for index, image in enumerate(batch):
        assert_same(image, run(job(seed=7 + index, **changes), tiny, [control], start)[0])
