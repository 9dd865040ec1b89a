"""Step previews: what the model thinks the image will be, shown cheaply."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from scumble_server.engine.denoise import Step, signal_of
from scumble_server.engine.extensions.preview import preview_image
from scumble_server.engine.families import family_of
from scumble_server.engine.families.sd15 import LATENT_TO_RGB
from scumble_server.engine.family import LatentColours
from scumble_server.engine.latents import decode
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.manifest import MANIFEST_NAME
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError

from .conftest import CPU
from .tiny_families import write_tiny_vae

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras", "unipc"])
def test_a_perfect_prediction_shows_the_clean_image_at_every_step(sampler, prediction_type):
    """Noise a known latent; a UNet that knows the noise gives the latent back, at every step and in the end.

    That holds for samplers without randomness only if what we take for the signal is what the scheduler means.
    """
    scheduler = make_scheduler(sampler, {**CONFIG, "prediction_type": prediction_type})
    scheduler.set_timesteps(6)
    clean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(2))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    latents = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    for index, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        signal = signal_of(scheduler, timestep)
        truth = noise if prediction_type == "epsilon" else signal * noise - (1 - signal**2) ** 0.5 * clean
        step = Step(index, 6, timestep, signal, latents, scaled, clean, prediction_type, truth)
        assert torch.allclose(step.clean(), clean, atol=0.02)
        latents = scheduler.step(truth, timestep, latents, return_dict=False)[0]
    assert torch.allclose(latents, clean, atol=0.06 if sampler == "ddim" else 0.01)  # ddim stops at the first alpha


@pytest.mark.parametrize(("size", "shown"), [((8, 8), (64, 64)), ((32, 32), (192, 192)), ((64, 40), (240, 152))])
def test_a_cheap_decoder_shows_no_more_than_192_pixels_squared(tiny, size, shown):
    image = preview_image(tiny, torch.zeros(1, 4, *size))
    assert image.shape == (*shown, 3)
    assert image.dtype == np.uint8


@pytest.mark.supports("linear colours", family="sd15")
def test_a_costly_decoder_is_replaced_by_a_linear_map(tiny):
    model = replace(tiny, colours=LatentColours.of(LATENT_TO_RGB))
    latents = torch.zeros(1, 4, 3, 5)
    assert (preview_image(model, latents) == 128).all()
    latents[0, 3] = -1.0
    assert preview_image(model, latents)[0, 0].tolist() == [
        round((0.5 + 0.5 * weight) * 255) for weight in (0.2120, 0.2616, 0.7177)
    ]


@pytest.mark.supports("linear colours")
@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_every_family_has_colours_of_its_latents(families, family):
    from scumble_server.engine.families import flux, sd3, sdxl

    module, model = {"sdxl": sdxl, "sd3": sd3, "flux": flux}[family], families[family].model
    model = replace(model, colours=LatentColours.of(module.COLOURS, module.BIAS))
    shown = preview_image(model, torch.zeros(1, model.latent_channels, 2, 3))
    assert shown.shape == (2, 3, 3)
    expected = [round((0.5 + 0.5 * value) * 255) for value in module.BIAS]
    assert np.abs(shown[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.supports("small autoencoder")
@pytest.mark.parametrize(("family", "channels"), [("sd15", 4), ("sdxl", 4), ("sd3", 16), ("flux", 16)])
def test_a_small_autoencoder_beside_the_models_draws_them_and_sketches(
    models_folder, family_folders, tmp_path, family, channels
):
    write_tiny_vae(tmp_path / f"tae-{family}", channels)
    shutil.copytree(family_folders.get(family, models_folder / "tiny"), tmp_path / "model")
    if family == "sd15":  # by itself the tiny one is of the starter's size
        (tmp_path / "model" / MANIFEST_NAME).write_text('{"family": "sd15"}')
    index = scan((tmp_path,), builtin=False)
    (entry,) = index.models
    assert entry.preview_vae == tmp_path / f"tae-{family}"
    assert not index.unusable
    model = family_of(family).load_model(entry, CPU)
    latents = torch.randn(1, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        colours = model.preview_vae.decode(latents, return_dict=False)[0][0].permute(1, 2, 0)
    expected = ((colours * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    with torch.inference_mode():
        assert np.array_equal(preview_image(model, latents), expected)
        assert np.array_equal(decode(model, latents, small=True)[0], expected)
        assert not np.array_equal(decode(model, latents)[0], expected)


@pytest.mark.parametrize(
    ("name", "family", "channels"),
    [
        ("taesd_decoder", "sd15", 4),
        ("taesdxl_decoder", "sdxl", 4),
        ("taesd3_decoder", "sd3", 16),
        ("taef1_decoder", "flux", 16),
    ],
)
def test_its_decoder_may_lie_in_a_file_of_its_own(models_folder, family_folders, tmp_path, name, family, channels):
    """As ComfyUI keeps it: layers numbered after one that clamps, which diffusers has outside of them."""
    whole = AutoencoderTiny(latent_channels=channels)
    numbered = {}
    for key, tensor in whole.decoder.layers.state_dict().items():
        number, _, rest = key.partition(".")
        numbered[f"{int(number) + 1}.{rest}"] = tensor
    save_file(numbered, tmp_path / f"{name}.safetensors")
    encoder = {key: tensor.clone() for key, tensor in whole.encoder.layers.state_dict().items()}
    save_file(encoder, tmp_path / f"{name.replace('de', 'en')}.safetensors")
    shutil.copytree(family_folders.get(family, models_folder / "tiny"), tmp_path / "model")
    if family == "sd15":
        (tmp_path / "model" / MANIFEST_NAME).write_text('{"family": "sd15"}')
    index = scan((tmp_path,), builtin=False)
    (entry,) = index.models
    assert entry.preview_vae == tmp_path / f"{name}.safetensors"
    assert ["isn't needed" in one.reason for one in index.unusable] == [True]
    small = family_of(family).load_model(entry, CPU).preview_vae
    latents = torch.randn(1, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(small.decode(latents).sample, whole.decode(latents).sample, rtol=1e-4, atol=1e-5)


def test_where_there_is_none_sketches_are_by_the_models_own(tiny):
    latents = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(decode(tiny, latents, small=True)[0], decode(tiny, latents)[0])


def test_a_sketch_of_no_numbers_is_refused(tiny):
    model = replace(tiny, preview_vae=tiny.vae)
    with pytest.raises(ScumbleError) as caught:
        decode(model, torch.full((1, 4, 2, 2), torch.nan), small=True)
    assert caught.value.info.code is ErrorCode.INVALID_RESULT


def test_numbers_that_are_none_are_grey_in_a_preview(tiny):
    assert (preview_image(tiny, torch.full((1, 4, 2, 2), torch.nan)) == 128).all()
