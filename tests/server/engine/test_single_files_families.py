"""SDXL, SD 3 and FLUX as single files under their makers' names are what the diffusers folders are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file
from scumble_server.engine.families.flux import Flux
from scumble_server.engine.families.flux_names import renamed
from scumble_server.engine.families.loading import CONFIGS
from scumble_server.engine.families.sd3 import StableDiffusion3
from scumble_server.engine.families.sdxl import StableDiffusionXL
from scumble_server.models.entries import ControlNetEntry, ModelEntry
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from . import ldm_layout, mmdit_layout
from .conftest import CPU
from .test_single_files import assert_same_weights, clone

pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning")

VOCABULARY = 49408


def text_encoder(kind, width: int):
    """With CLIP's own vocabulary, which single files have."""
    torch.manual_seed(width)
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=width,
        eos_token_id=2,
    )
    return kind(config)


def configs_for(tmp_path_factory, family: str, source: Path, **encoders) -> Path:
    """Laid out like those that ship, with the tiny models' sizes."""
    folder = tmp_path_factory.mktemp(f"configs-{family}")
    nets = {"controlnet": "controlnet_depth", "controlnet_union": "controlnet_union"}
    for part in [path.name for path in (CONFIGS / family).iterdir()]:
        (folder / part).mkdir()
        origin = source / nets.get(part, part) / "config.json"
        if part == "scheduler":
            text = (CONFIGS / family / "scheduler" / "scheduler_config.json").read_text()
            (folder / part / "scheduler_config.json").write_text(text)
        elif part in encoders:
            encoders[part].config.save_pretrained(folder / part)
        elif origin.exists():
            (folder / part / "config.json").write_text(origin.read_text())
    return folder


@pytest.fixture(scope="module")
def sdxl(family_folders, tmp_path_factory):
    """Folder of the tiny model, the family with its configurations, the encoders and the checkpoint."""
    source = family_folders["sdxl"]
    encoders = {
        "text_encoder": text_encoder(CLIPTextModel, 16),
        "text_encoder_2": text_encoder(CLIPTextModelWithProjection, 32),
    }
    folder = tmp_path_factory.mktemp("sdxl-file")
    unet = UNet2DConditionModel.from_pretrained(source / "unet").state_dict()
    vae = AutoencoderKL.from_pretrained(source / "vae").state_dict()
    first = encoders["text_encoder"].state_dict()
    state = {
        **ldm_layout.unet(unet, 1, "model.diffusion_model.", levels=2, plain=None),
        **ldm_layout.vae(vae),
        **ldm_layout.text_encoder(first, "conditioner.embedders.0.transformer.text_model."),
        **ldm_layout.open_clip(encoders["text_encoder_2"].state_dict()),
        "v_pred": torch.zeros(0),
        "ztsnr": torch.zeros(0),
    }
    save_file(clone(state), folder / "Tiny XL.safetensors")
    (folder / "Tiny XL.json").write_text('{"family": "sdxl"}')
    return source, StableDiffusionXL(configs_for(tmp_path_factory, "sdxl", source, **encoders)), encoders, folder


@pytest.mark.supports("single file", family="sdxl", equal=True)
def test_sdxl_checkpoint_is_the_folder(sdxl, families):
    _, family, encoders, folder = sdxl
    (entry,) = scan((folder,), builtin=False).models
    assert (entry.family, entry.prediction_type, entry.zero_terminal_snr) == ("sdxl", "v_prediction", True)
    model = family.load_model(entry, CPU)
    assert_same_weights(model.unet, families["sdxl"].model.unet)
    assert_same_weights(model.vae, families["sdxl"].model.vae)
    for ours, theirs in zip(model.prompt_encoder.encoders, encoders.values(), strict=True):
        assert_same_weights(ours.module, theirs)
    assert model.scheduler_config["prediction_type"] == "v_prediction"
    assert model.scheduler_config["timestep_spacing"] == "trailing"
    assert [encoder._tokenizer.pad_token for encoder in model.prompt_encoder.encoders] == ["<|endoftext|>", "!"]


@pytest.mark.parametrize(("kind", "name"), [(ControlNetModel, "depth"), (ControlNetUnionModel, "union")])
def test_sdxl_controlnets(sdxl, families, tmp_path, kind, name):
    source, family, _, _ = sdxl
    net = kind.from_pretrained(source / f"controlnet_{name}")
    save_file(clone(net.state_dict()), tmp_path / f"{name}.safetensors")
    (entry,) = scan((tmp_path,), builtin=False).controlnets
    assert entry.family == "sdxl"
    loaded = family.load_controlnet(entry, families["sdxl"].model)
    assert_same_weights(loaded.net, families["sdxl"].nets[name].net)
    assert loaded.takes_several is (name == "union")


@pytest.mark.parametrize("config", ["small", "mid"])
def test_sdxl_controlnets_that_lack_transformers(sdxl, families, tmp_path, config):
    _, family, _, _ = sdxl
    settings = dict(ControlNetModel.load_config(sdxl[0] / "controlnet_depth"))
    if config == "small":
        settings |= {"down_block_types": ["DownBlock2D"] * 2, "mid_block_type": "UNetMidBlock2D"}
    else:
        settings |= {"transformer_layers_per_block": [1, 1]}
    net = ControlNetModel.from_config(settings)
    save_file(clone(net.state_dict()), tmp_path / "depth.safetensors")
    entry = ControlNetEntry("depth", "depth", "sdxl", ("depth",), tmp_path / "depth.safetensors")
    loaded = family.load_controlnet(entry, families["sdxl"].model)
    assert {name for name, _ in loaded.net.named_parameters()} == {
        name for name, _ in net.named_parameters() if not name.startswith("controlnet_cond_embedding.")
    }


@pytest.mark.supports("single file", family="sd3", equal=True)
@pytest.mark.parametrize("sizes", [{}, {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}], ids=["3", "3.5"])
def test_sd3_checkpoint_is_the_folder(family_folders, tmp_path_factory, sizes):
    source = family_folders["sd3"]
    torch.manual_seed(1)
    settings = {**SD3Transformer2DModel.load_config(source / "transformer"), **sizes}
    transformer = SD3Transformer2DModel.from_config(settings)
    encoders = {
        "text_encoder": text_encoder(CLIPTextModelWithProjection, 16),
        "text_encoder_2": text_encoder(CLIPTextModelWithProjection, 32),
        "text_encoder_3": T5EncoderModel(T5Config.from_pretrained(source / "text_encoder_3")),
    }
    with torch.no_grad():
        encoders["text_encoder"].text_projection.weight.copy_(torch.eye(16))  # files have none for this one
    state = {
        **mmdit_layout.sd3(transformer.state_dict()),
        **ldm_layout.vae(AutoencoderKL.from_pretrained(source / "vae").state_dict()),
    }
    for name, part in zip(("clip_l", "clip_g", "t5xxl"), encoders.values(), strict=True):
        own = {f"text_encoders.{name}.transformer.{key}": tensor for key, tensor in part.state_dict().items()}
        state |= {key: tensor for key, tensor in own.items() if "embed_tokens" not in key}
    del state["text_encoders.clip_l.transformer.text_projection.weight"]
    folder = tmp_path_factory.mktemp("sd3-file")
    save_file(clone(state), folder / "Tiny 3.safetensors")
    (entry,) = scan((folder,), builtin=False).models
    family = StableDiffusion3(configs_for(tmp_path_factory, "sd3", source, **encoders))
    without = family.load_model(entry, CPU)
    assert without.prompt_encoder.t5 is None, "nobody lent T5's tokenizer"
    model = family.load_model(ModelEntry("x", "x", "sd3", entry.path, lender=source), CPU)
    assert_same_weights(model.network.module, transformer)
    assert_same_weights(model.vae, AutoencoderKL.from_pretrained(source / "vae"))
    for ours, theirs in zip((*model.prompt_encoder.clips, model.prompt_encoder.t5), encoders.values(), strict=True):
        assert_same_weights(ours.module, theirs)


@pytest.mark.supports("single file", family="flux", equal=True)
@pytest.mark.parametrize("guided", [True, False], ids=["dev", "schnell"])
def test_flux_checkpoint_is_the_folder_with_what_it_lends(family_folders, tmp_path_factory, guided):
    source = family_folders["flux"]
    torch.manual_seed(2)
    settings = {**FluxTransformer2DModel.load_config(source / "transformer"), "guidance_embeds": guided}
    transformer = FluxTransformer2DModel.from_config(settings)
    folder = tmp_path_factory.mktemp("flux-file")
    save_file(clone(mmdit_layout.flux(transformer.state_dict())), folder / "Tune.safetensors")
    family = Flux(configs_for(tmp_path_factory, "flux", source))
    entry = ModelEntry("x", "x", "flux", folder / "Tune.safetensors", lender=source)
    model = family.load_model(entry, CPU)
    assert_same_weights(model.network.module, transformer)
    assert_same_weights(model.vae, AutoencoderKL.from_pretrained(source / "vae"))
    assert model.scheduler_config["use_dynamic_shifting"] is guided
    with pytest.raises(ScumbleError, match="text encoders") as caught:
        family.load_model(ModelEntry("x", "x", "flux", entry.path), CPU)
    assert caught.value.code is ErrorCode.MODEL_INVALID


def test_flux_names_are_those_that_diffusers_knows():
    """At full width, which its own conversion takes for granted; a block of each kind, without any numbers in it."""
    with torch.device("meta"):
        settings = {**FluxTransformer2DModel.load_config(CONFIGS / "flux" / "transformer")}
        whole = FluxTransformer2DModel.from_config({**settings, "num_layers": 1, "num_single_layers": 1}).state_dict()
    theirs = convert_flux_transformer_checkpoint_to_diffusers(mmdit_layout.flux(whole))
    ours = renamed(mmdit_layout.flux(whole))
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [
        ("sd3", SD3ControlNetModel, "depth"),
        ("flux", FluxControlNetModel, "depth"),
        ("flux", FluxControlNetModel, "union"),
    ],
)
def test_controlnets_of_transformers(families, family_folders, tmp_path_factory, family, kind, name):
    source, folder = family_folders[family], tmp_path_factory.mktemp("net")
    net = kind.from_pretrained(source / f"controlnet_{name}")
    save_file(clone(net.state_dict()), folder / f"{name}.safetensors")
    (entry,) = scan((folder,), builtin=False).controlnets
    assert (entry.family, bool(entry.kinds)) == (family, True)
    loader = {"sd3": StableDiffusion3, "flux": Flux}[family](configs_for(tmp_path_factory, family, source))
    loaded = loader.load_controlnet(entry, families[family].model)
    assert_same_weights(loaded.net, net)


COUNTS = {
    "sdxl/unet": (UNet2DConditionModel, 2_567_463_684),
    "sdxl/vae": (AutoencoderKL, 83_653_863),
    "sdxl/controlnet": (ControlNetModel, 1_251_014_160),
    "sdxl/controlnet_union": (ControlNetUnionModel, 1_256_614_800),
    "sd3/transformer": (SD3Transformer2DModel, 2_028_328_000),
    "sd3/vae": (AutoencoderKL, 83_819_683),
    "flux/transformer": (FluxTransformer2DModel, 11_901_408_320),
    "flux/vae": (AutoencoderKL, 83_819_683),
}


@pytest.mark.parametrize("part", COUNTS)
def test_configurations_that_ship_are_those_of_the_released_models(part):
    kind, count = COUNTS[part]
    with torch.device("meta"):
        module = kind.from_config(json.loads((CONFIGS / part / "config.json").read_text()))
    assert sum(parameter.numel() for parameter in module.parameters()) == count


@pytest.mark.parametrize(
    ("part", "count"), [("sdxl/text_encoder_2", 694_659_840), ("sd3/text_encoder_3", 4_762_310_656)]
)
def test_configurations_of_text_encoders(part, count):
    with torch.device("meta"):
        if part.endswith("3"):
            module = T5EncoderModel(T5Config.from_pretrained(CONFIGS / part))
        else:
            module = CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(CONFIGS / part))
    assert sum(parameter.numel() for parameter in module.parameters()) == count
