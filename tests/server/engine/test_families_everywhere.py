"""Every family takes part in everything: textures, noise on surfaces, enlarging, odd sizes, LoRAs by jobs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)
from safetensors.torch import save_file
from scumble_server.engine.denoise import FLOW, Step, signal_of
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.families import family_of
from scumble_server.engine.lora.names import targets_of
from scumble_server.engine.samplers import FLOW_TABLE, make_scheduler
from scumble_server.models.entries import ModelEntry
from scumble_server.models.scan import scan
from scumble_server.service import Executor
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TEXTURE_METHODS, Control, GenerateJob, Lora, TextureJob, UpscaleJob, View

from .conftest import CPU, Example, Hooks, picture
from .test_families import MASK, assert_same, ours, reference
from .test_texture import MESH, TENSORS, VIEWS, camera
from .tiny_families import write_flux, write_sdxl

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]

FAMILIES = ("sdxl", "sd3", "flux")
NEW = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def folder(models_folder, family_folders, families, tmp_path_factory):
    """All families' models, and a LoRA for each that changes one layer."""
    place = tmp_path_factory.mktemp("library")
    (place / "sd15").symlink_to(models_folder / "tiny", target_is_directory=True)
    for name, path in family_folders.items():
        (place / name).symlink_to(path, target_is_directory=True)
        component = "unet" if name == "sdxl" else "transformer"
        layer = {
            "sdxl": "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q",
            "sd3": "transformer_blocks.0.attn.to_q",
            "flux": "single_transformer_blocks.0.attn.to_q",
        }[name]
        (weight,) = targets_of({component: families[name].model.network.module})[f"{component}.{layer}"]
        torch.manual_seed(5)
        state = {
            f"{component}.{layer}.lora_A.weight": torch.randn(2, weight.shape[1]),
            f"{component}.{layer}.lora_B.weight": torch.randn(weight.shape[0], 2),
        }
        said = {"sdxl": "sdxl_base_v1-0", "sd3": "sd3", "flux": "flux1"}[name]
        save_file(state, place / f"{name}-ink.safetensors", metadata={"ss_base_model_version": said})
    return place


@pytest.fixture(scope="module")
def executor(folder) -> Executor:
    return EngineExecutor((folder,), "cpu")


def generated(executor, family: str, tensors=None, **changes) -> np.ndarray:
    settings = {"width": 64, "height": 64, "sampler": "euler", "num_inference_steps": 2, "guidance_scale": 3.0}
    job = GenerateJob("a brick wall", model=family, **{**settings, **changes})
    return executor.run(job, tensors or {}, Hooks()).tensors["image/0"]


@NEW
@pytest.mark.supports("textures all around, {method}")
@pytest.mark.parametrize("method", TEXTURE_METHODS)
def test_textures_all_around(executor, family, method):
    controls = (Control("depth"), Control("normal"))
    job = TextureJob(
        "a brick wall",
        (MESH,),
        model=family,
        views=VIEWS,
        controls=controls,
        sampler="euler",
        num_inference_steps=3,
        guidance_scale=3.0,
        texture_size=32,
        method=method,
    )
    hooks = Hooks()
    out = executor.run(job, TENSORS, hooks)
    views = [out.tensors[f"view/{index}"] for index in range(len(VIEWS))]
    assert all(view.shape == (64, 64, 3) for view in views)
    assert out.tensors["texture/Ring"].std() > 4
    assert hooks.previews
    if method == "synchronised":
        apart = executor.run(replace(job, sync_end=0.0), TENSORS, Hooks())
        assert (apart.tensors["view/0"] != views[0]).any()


@NEW
@pytest.mark.supports("noise on the surface")
def test_noise_on_the_surface(executor, family):
    depth = np.full((64, 64), 2.0, np.float32)
    view = View(camera(0.0), depth="depth")
    anchored = generated(executor, family, {"depth": depth}, view=view, noise_anchor="surface")
    assert (anchored != generated(executor, family)).any()


@pytest.mark.supports("drafts of live mode")
@pytest.mark.parametrize("family", ["sd15", *FAMILIES])
def test_drafts_of_live_mode(executor, family):
    """What it asks for while the view moves: a step or two, sketchy, and what was painted before to go on from."""
    depth = np.full((64, 64), 2.0, np.float32)
    controls = (Control("depth"),)
    view = View(camera(0.0), depth="depth")
    settings = {"num_inference_steps": 1, "quality": "draft", "decoder": "small", "controls": controls, "view": view}
    first = generated(executor, family, {"depth": depth}, **settings)
    again = {"init_image": "first", "denoising_strength": 0.6}
    second = generated(executor, family, {"depth": depth, "first": first}, **settings, **again)
    assert (first != second).any()
    assert (first == generated(executor, family, {"depth": depth}, **settings)).all()


@NEW
@pytest.mark.supports("enlarging")
def test_pictures_are_enlarged(executor, family):
    job = UpscaleJob("small", model=family, sampler="euler", num_inference_steps=2, tile_size=64, tile_overlap=16)
    out = executor.run(replace(job, denoising_strength=0.6), {"small": picture(3, 48, 40)}, Hooks())
    assert out.tensors["image/0"].shape == (80, 96, 3)


@pytest.mark.supports("image-to-image + ControlNet", family="sd3")
@pytest.mark.supports("image-to-image + several ControlNets", family="sd3")
@pytest.mark.supports("inpainting + ControlNet", family="sd3")
@pytest.mark.supports("inpainting + several ControlNets", family="sd3")
def test_controls_act_where_diffusers_has_no_pipeline_for_them(families):
    """SD 3's in image-to-image and inpainting: there, and more so with more strength."""
    example = families["sd3"]
    for task in ("image-to-image", "inpaint"):
        plain = ours(example, task, (), "euler", 0.8).astype(int)
        one = ours(example, task, ("depth",), "euler", 0.8).astype(int)
        two = ours(example, task, ("depth", "normal"), "euler", 0.8).astype(int)
        assert np.abs(one - plain).mean() > 0.5
        assert np.abs(two - one).mean() > 0.1


@NEW
@pytest.mark.parametrize("size", [(72, 100), (61, 129)])
def test_sizes_that_are_no_whole_patches(executor, family, size):
    width, height = size
    assert generated(executor, family, width=width, height=height).shape == (height, width, 3)


@NEW
def test_outpainting_is_inpainting_of_a_larger_canvas(executor, family):
    """The picture in the middle of a wider one; all around it is new."""
    wide, mask = np.zeros((64, 128, 3), np.uint8), np.full((64, 128), 255, np.uint8)
    wide[:, 32:96], mask[:, 32:96] = picture(3), 0
    out = generated(executor, family, {"i": wide, "m": mask}, width=128, init_image="i", mask="m")
    assert (out[:, 32:96] == picture(3)).all()
    assert out[:, :32].std() > 4
    assert out[:, 96:].std() > 4


@pytest.mark.supports("models made for inpainting", family="sdxl", equal=True)
def test_sdxl_made_for_inpainting(tmp_path):
    write_sdxl(tmp_path / "sdxl-inpainting", in_channels=9)
    (entry,) = scan((tmp_path,), builtin=False).models
    assert entry.in_channels == 9
    example = Example("sdxl", entry.path, family_of("sdxl").load_model(entry, CPU), {})
    for strength in (0.6, 1.0):
        arguments = example, "inpaint", (), "euler", strength
        assert_same(ours(*arguments)[MASK > 0], reference(*arguments)[MASK > 0])


@NEW
def test_images_of_a_batch_are_those_of_their_seeds(executor, family):
    job = GenerateJob("a", model=family, width=64, height=64, sampler="euler", num_inference_steps=2, batch_size=2)
    out = executor.run(job, {}, Hooks()).tensors
    second = executor.run(replace(job, batch_size=1, seed=1), {}, Hooks()).tensors["image/0"]
    assert np.abs(out["image/1"].astype(int) - second).max() <= 1


@NEW
def test_a_lora_of_one_job_is_not_in_the_next(executor, family):
    plain = generated(executor, family)
    changed = generated(executor, family, loras=(Lora(f"{family}-ink", 0.5),))
    assert (changed != plain).any()
    assert (generated(executor, family, loras=(Lora(f"{family}-ink", 0.5),)) == changed).all()
    assert (generated(executor, family) == plain).all()


@NEW
def test_a_lora_of_another_family_is_refused_by_name(executor, family):
    other = FAMILIES[(FAMILIES.index(family) + 1) % len(FAMILIES)]
    with pytest.raises(ScumbleError, match=f"{other}-ink is a LoRA for") as caught:
        generated(executor, family, loras=(Lora(f"{other}-ink"),))
    assert caught.value.code is ErrorCode.MODEL_MISMATCH


@pytest.mark.parametrize("family", ["sd3", "flux"])
class TestFlow:
    def test_samplers_that_it_cannot_be_sampled_with(self, executor, family):
        with pytest.raises(ScumbleError, match="there are euler, dpmpp_2m, unipc") as caught:
            generated(executor, family, sampler="ddim")
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.UNSUPPORTED, "job.sampler")

    def test_pictures_that_repeat_are_refused(self, executor, family):
        with pytest.raises(ScumbleError, match="knows where each pixel lies") as caught:
            generated(executor, family, tiling="x")
        assert caught.value.info.field == "job.tiling"

    @pytest.mark.parametrize("sampler", FLOW_TABLE)
    def test_a_perfect_prediction_shows_the_clean_image_at_every_step(self, families, family, sampler):
        scheduler = make_scheduler(sampler, families[family].model.scheduler_config, 1024)
        scheduler.set_timesteps(6)
        scheduler.set_begin_index(0)
        clean, noise = torch.randn(2, 1, 16, 2, 2, generator=torch.Generator().manual_seed(1)).unbind()
        latents = noise * scheduler.init_noise_sigma
        for index, timestep in enumerate(scheduler.timesteps):
            step = Step(
                index, 6, timestep, signal_of(scheduler, timestep), latents, latents, clean, FLOW, noise - clean
            )
            assert torch.allclose(step.clean(), clean, atol=0.02)
            moved = replace(step, prediction=step.moved(0.5 * clean))
            assert torch.allclose(moved.clean(), step.clean() + 0.5 * clean, atol=1e-3)
            latents = scheduler.step(noise - clean, timestep, latents, return_dict=False)[0]
        assert torch.allclose(latents, clean, atol=0.01)

    def test_larger_pictures_dwell_longer_on_noise_where_the_model_wants_it(self, families, family):
        config = families[family].model.scheduler_config
        middles = []
        for tokens in (256, 4096):
            for sampler in FLOW_TABLE:
                scheduler = make_scheduler(sampler, config, tokens)
                scheduler.set_timesteps(8)
                middles.append(float(scheduler.sigmas[4]))
        small, large = middles[:3], middles[3:]
        if family == "flux":
            assert all(a < b for a, b in zip(small, large, strict=True))
        else:
            assert small == large


def test_a_sampler_of_sd3_is_that_of_diffusers(families):
    arguments = families["sd3"], "text-to-image", ("depth",), "unipc", 1.0
    difference = np.abs(ours(*arguments).astype(int) - reference(*arguments))
    assert difference.max() <= 1


@pytest.mark.supports("v-prediction, zero terminal SNR", family="sdxl", equal=True)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m_karras", "lcm"])
def test_v_prediction_and_zero_snr_of_sdxl(family_folders, families, sampler):
    entry = ModelEntry("v", "v", "sdxl", family_folders["sdxl"], prediction_type="v_prediction", zero_terminal_snr=True)
    model = family_of("sdxl").load_model(entry, CPU)
    example = replace(families["sdxl"], model=model)
    arguments = example, "text-to-image", (), sampler, 1.0
    difference = np.abs(ours(*arguments).astype(int) - reference(*arguments))
    assert difference.max() <= 1


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
DDIM = {**BETAS, "timestep_spacing": "trailing", "clip_sample": False}
QUICK = {
    "sdxl-lightning-4step": ("sdxl", EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing"), 4, 1.0),
    "sdxl-turbo": ("sdxl", EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing"), 4, 1.0),
    "Hyper-SDXL-8steps": ("sdxl", DDIMScheduler(**DDIM), 8, 1.0),
    "dmd2_sdxl_4step": ("sdxl", LCMScheduler(**BETAS), 4, 1.0),
    "sd3.5_large_turbo": ("sd3", FlowMatchEulerDiscreteScheduler(shift=3.0), 4, 1.0),
    "FLUX.1-schnell": ("flux", FlowMatchEulerDiscreteScheduler(shift=1.0), 4, 1.0),
}
"""Name -> family, and what its makers say it is to be sampled with."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.supports("made for few steps", family=family, equal=True))
        for name, (family, *_) in QUICK.items()
    ],
)
def test_models_made_for_few_steps_are_sampled_as_their_makers_say(family_folders, tmp_path, name):
    """Nobody chooses anything: what the scan found in the name or weights is what the artist begins with."""
    family, scheduler, steps, guidance = QUICK[name]
    if family == "flux":
        write_flux(tmp_path / name, guidance_embeds=False)
    else:
        shutil.copytree(family_folders[family], tmp_path / name)
    (entry,) = scan((tmp_path,), builtin=False).models
    assert (entry.family, entry.num_inference_steps, entry.guidance_scale) == (family, steps, guidance)
    example = Example(family, tmp_path / name, family_of(family).load_model(entry, CPU), {})
    arguments = example, "text-to-image", (), entry.sampler, 1.0, entry.num_inference_steps, entry.guidance_scale
    assert_same(ours(*arguments), reference(*arguments, scheduler))


def test_steps_of_models_made_for_few_are_spaced_as_they_were_trained(family_folders):
    entry = ModelEntry("quick", "quick", "sdxl", family_folders["sdxl"], timestep_spacing="trailing")
    model = family_of("sdxl").load_model(entry, CPU)
    scheduler = make_scheduler("euler", model.scheduler_config)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999.0, 749.0, 499.0, 249.0]
