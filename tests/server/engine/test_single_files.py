"""Checkpoints and ControlNets as single files, in the original layout, are what the diffusers folders are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from scumble_server.engine.extensions.controls import ActiveControl
from scumble_server.engine.families.sd15 import CONFIG_FOLDER, StableDiffusion15
from scumble_server.engine.generate import Timings, generate
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from transformers import CLIPTextConfig, CLIPTextModel

from . import ldm_layout
from .conftest import CPU, Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def text_encoder() -> CLIPTextModel:
    """As wide as an SD 1.5 UNet expects and with CLIP's vocabulary, but nearly empty between."""
    torch.manual_seed(3)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=2,
    )
    return CLIPTextModel(config)


@pytest.fixture(scope="module")
def configs(models_folder, text_encoder, tmp_path_factory) -> Path:
    """Configurations for the tiny model, laid out like those that ship."""
    folder = tmp_path_factory.mktemp("configs")
    source = models_folder / "tiny"
    for name, origin in (("unet", "unet"), ("vae", "vae"), ("controlnet", "controlnet_depth")):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text((source / origin / "config.json").read_text())
    (folder / "scheduler").mkdir()
    settings = (CONFIG_FOLDER / "scheduler" / "scheduler_config.json").read_text()
    (folder / "scheduler" / "scheduler_config.json").write_text(settings)
    text_encoder.config.save_pretrained(folder / "text_encoder")
    return folder


def checkpoint(folder: Path, text_encoder: CLIPTextModel) -> dict[str, torch.Tensor]:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    vae = AutoencoderKL.from_pretrained(folder / "vae").state_dict()
    return {
        **ldm_layout.unet(unet, 1, "model.diffusion_model."),
        **ldm_layout.vae(vae),
        **ldm_layout.text_encoder(text_encoder.state_dict()),
    }


def clone(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def files(models_folder, text_encoder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_file(clone(checkpoint(models_folder / "tiny", text_encoder)), folder / "Tiny.safetensors")
    save_file(
        clone(checkpoint(models_folder / "tiny-inpainting", text_encoder)) | {"v_pred": torch.zeros(0)},
        folder / "Tiny Inpainting.safetensors",
    )
    net = ControlNetModel.from_pretrained(models_folder / "tiny" / "controlnet_depth").state_dict()
    save_file(clone(ldm_layout.controlnet(net, 1, "control_model.")), folder / "control_depth_full.safetensors")
    save_file(clone(ldm_layout.controlnet(net, 1, "")), folder / "control_depth_bare.safetensors")
    save_file(clone(net), folder / "control_depth_diffusers.safetensors")
    return folder


@pytest.fixture(scope="module")
def index(files):
    for path in files.glob("*.safetensors"):
        path.with_suffix(".json").write_text('{"family": "sd15"}')  # by its width, it would be none we know
    return scan((files,), builtin=False)


def assert_same_weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_checkpoint_is_the_folder(index, configs, tiny, text_encoder):
    model = StableDiffusion15(configs).load_model(index.model("tiny"), CPU)
    assert_same_weights(model.unet, tiny.unet)
    assert_same_weights(model.vae, tiny.vae)
    assert_same_weights(model.prompt_encoder._text_encoder, text_encoder)
    assert model.scheduler_config["prediction_type"] == "epsilon"


def test_inpainting_checkpoint_with_v_prediction(index, configs, tiny_inpainting):
    entry = index.model("tiny-inpainting")
    assert (entry.in_channels, entry.prediction_type) == (9, "v_prediction")
    model = StableDiffusion15(configs).load_model(entry, CPU)
    assert_same_weights(model.unet, tiny_inpainting.unet)
    assert model.scheduler_config["prediction_type"] == "v_prediction"


@pytest.mark.parametrize("name", ["control-depth-full", "control-depth-bare", "control-depth-diffusers"])
def test_controlnet_is_the_folder(index, configs, tiny, name):
    family = StableDiffusion15(configs)
    entry = next(entry for entry in index.controlnets if entry.id == name)
    assert entry.kinds == ("depth",)
    file, folder = family.load_controlnet(entry, tiny), family.load_controlnet(tiny.entry.controlnets["depth"], tiny)
    assert_same_weights(file.net, folder.net)
    assert_same_weights(file.embed, folder.embed)


@pytest.mark.supports("single file", family="sd15", equal=True)
def test_it_generates(index, configs):
    family = StableDiffusion15(configs)
    model = family.load_model(index.model("tiny"), CPU)
    net = family.load_controlnet(index.controlnet("control-depth-full", "depth", model.entry, 0), model)
    job = GenerateJob("a cat", width=64, height=64, num_inference_steps=2)
    control = ActiveControl(net, picture(1), 1.0, 0.0, 1.0)
    image = generate(job, model, [control], {}, Hooks(), Timings())[0]
    assert image.shape == (64, 64, 3)


def test_weights_of_another_size_are_refused_in_words(files, index):
    with pytest.raises(ScumbleError) as caught:
        StableDiffusion15().load_model(index.model("tiny"), CPU)
    assert caught.value.code == ErrorCode.MODEL_INVALID
    assert "Tiny" in caught.value.info.message


def test_configurations_that_ship_are_those_of_sd15():
    """Parameter counts of the released model: 859,520,964 + 83,653,863 + 123,060,480; ControlNet 361,279,120."""
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIG_FOLDER / "unet")),
            "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIG_FOLDER / "vae")),
            "text": CLIPTextModel(CLIPTextConfig.from_pretrained(CONFIG_FOLDER / "text_encoder")),
            "controlnet": ControlNetModel.from_config(ControlNetModel.load_config(CONFIG_FOLDER / "controlnet")),
        }
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    assert counts == {"unet": 859_520_964, "vae": 83_653_863, "text": 123_060_480, "controlnet": 361_279_120}
