"""Families, LoRAs and what saves steps, told by the headers of files and the configurations of folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scumble_server.models.detect import detect
from scumble_server.models.few_steps import few_steps
from scumble_server.models.index import ModelIndex
from scumble_server.models.safetensors_header import TensorEntry
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import CONTROL_KINDS, SAMPLERS

from .test_index import Shapes, safetensors

UNET = "model.diffusion_model."
ATTENDS = "transformer_blocks.0.attn2.to_k.weight"
XL = {
    f"{UNET}input_blocks.0.0.weight": (8, 4, 3, 3),
    f"{UNET}input_blocks.4.1.{ATTENDS}": (8, 2048),
    "first_stage_model.encoder.conv_in.weight": (1,),
    "conditioner.embedders.0.transformer.x": (1,),
}
SD3 = {
    f"{UNET}joint_blocks.0.x": (1,),
    "first_stage_model.x": (1,),
    "text_encoders.clip_l.x": (1,),
    "text_encoders.clip_g.x": (1,),
}
FLUX = {"double_blocks.0.x": (1,), "img_in.weight": (8, 64), "guidance_in.in_layer.weight": (1,)}
UNION = {"task_embedding": (8, 320), "control_add_embedding.linear_1.weight": (1,)}


def header(shapes: Shapes) -> dict[str, TensorEntry]:
    return {name: TensorEntry("F16", shape) for name, shape in shapes.items()}


def put(folder: Path, name: str, shapes: Shapes, **metadata: str) -> Path:
    content = safetensors(shapes)
    if metadata:
        length = int.from_bytes(content[:8], "little")
        table = {"__metadata__": metadata, **json.loads(content[8 : 8 + length])}
        text = json.dumps(table).encode()
        content = len(text).to_bytes(8, "little") + text + content[8 + length :]
    path = folder / f"{name}.safetensors"
    path.write_bytes(content)
    return path


def found(folder: Path) -> ModelIndex:
    return scan((folder,), builtin=False)


class TestCheckpoints:
    @pytest.mark.parametrize(
        ("shapes", "family", "is_whole"),
        [
            (XL, "sdxl", True),
            (SD3, "sd3", True),
            ({f"{UNET}joint_blocks.0.x": (1,)}, "sd3", False),
            (FLUX, "flux", False),
            ({f"{UNET}{name}": shape for name, shape in FLUX.items()}, "flux", False),
        ],
    )
    def test_family(self, shapes, family, is_whole):
        weights = detect(header(shapes))
        assert (weights.role, weights.family, weights.is_whole) == ("checkpoint", family, is_whole)

    def test_what_a_model_paints_best_is_its_familys(self, tmp_path):
        put(tmp_path, "Real", XL)
        put(tmp_path, "Medium", SD3)
        xl, sd3 = sorted(found(tmp_path).capabilities("").models, key=lambda model: model.family, reverse=True)
        assert (xl.width, xl.height, xl.sampler) == (1024, 1024, "dpmpp_2m_karras")
        assert xl.samplers == SAMPLERS
        assert (sd3.width, sd3.sampler, sd3.samplers) == (1024, "euler", ("euler", "dpmpp_2m", "unipc"))

    @pytest.mark.parametrize("said", [{"modelspec.prediction_type": "v"}, {}])
    def test_v_prediction_by_mark_or_by_word(self, tmp_path, said):
        marks: Shapes = {} if said else {"v_pred": (0,), "ztsnr": (0,)}
        put(tmp_path, "noob-v", {**XL, **marks}, **said)
        (model,) = found(tmp_path).models
        assert model.prediction_type == "v_prediction"
        assert model.zero_terminal_snr is not bool(said)

    @pytest.mark.parametrize(
        ("name", "v_prediction", "zero_snr"),
        [
            ("noobaiXL_vPred10", True, False),
            ("Frosting v-prediction ztSNR", True, True),
            ("sdxl_zsnr", False, True),
            ("vpredator", False, False),
            ("improved-v2", False, False),
        ],
    )
    def test_or_by_its_name_where_marks_were_lost(self, tmp_path, name, v_prediction, zero_snr):
        put(tmp_path, name, XL)
        (model,) = found(tmp_path).models
        assert (model.prediction_type == "v_prediction", model.zero_terminal_snr) == (v_prediction, zero_snr)

    def test_what_a_file_lacks_a_folder_lends(self, tmp_path):
        put(tmp_path, "Finetune", FLUX)
        assert "must lie beside it" in found(tmp_path).unusable[0].reason
        put_flux_folder(tmp_path / "whole")
        index = found(tmp_path)
        assert not index.unusable
        assert index.model("finetune").lender == tmp_path / "whole"


def put_flux_folder(folder: Path) -> None:
    """As far as it is looked at without loading it."""
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        (folder / part).mkdir(parents=True)
        put(folder / part, "model", {"x": (1,)})
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    config = {"_class_name": "FluxTransformer2DModel", "in_channels": 64, "guidance_embeds": True}
    (folder / "transformer" / "config.json").write_text(json.dumps(config))


class TestControlNets:
    def test_a_union_takes_what_it_was_trained_on(self):
        promax = detect(header(UNION))
        assert (promax.role, promax.family) == ("controlnet", "sdxl")
        assert set(promax.kinds) == {kind for kind in CONTROL_KINDS if kind != "color"}
        assert "tile" not in detect(header({**UNION, "task_embedding": (6, 320)})).kinds

    def test_unions_for_flux_take_what_their_makers_say(self, tmp_path):
        plain: Shapes = {"controlnet_x_embedder.weight": (1,)}
        for name, shapes in {
            "InstantX-FLUX-Union": {**plain, "controlnet_mode_embedder.weight": (1,)},
            "FLUX.1-dev-ControlNet-Union-Pro-2.0": plain,
            "flux-canny-controlnet-v3": plain,
        }.items():
            (tmp_path / f"{name}.safetensors").write_bytes(safetensors(shapes))
        found = {net.name: net.kinds for net in scan((tmp_path,), builtin=False).controlnets}
        assert found == {
            "InstantX-FLUX-Union": ("canny", "tile", "depth", "openpose"),
            "FLUX.1-dev-ControlNet-Union-Pro-2.0": ("canny", "depth", "softedge", "openpose"),
            "flux-canny-controlnet-v3": ("canny",),
        }

    @pytest.mark.parametrize(
        ("shapes", "family"),
        [
            ({"controlnet_cond_embedding.conv_in.weight": (1,), "add_embedding.linear_1.weight": (1,)}, "sdxl"),
            ({"controlnet_x_embedder.weight": (1,)}, "flux"),
            ({"pos_embed_input.proj.weight": (1,)}, "sd3"),
        ],
    )
    def test_family(self, shapes, family):
        weights = detect(header(shapes))
        assert (weights.role, weights.family) == ("controlnet", family)


LORAS = [
    ({"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)}, "sd15"),
    ({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)}, "sdxl"),
    ({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight": (4, 2048)}, "sdxl"),
    ({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)}, "sd15"),
    ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.hada_w1_b": (4, 2048)}, "sdxl"),
    ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 3072)}, "flux"),
    ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, "flux"),
    ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 2432)}, "sd3"),
    ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 3072)}, "flux"),
    ({"transformer.transformer_blocks.0.attn.to_k.lora_A.weight": (4, 1536)}, "sd3"),
]


class TestLoras:
    @pytest.mark.parametrize(("shapes", "family"), LORAS)
    def test_family_by_its_tensors(self, shapes, family):
        weights = detect(header(shapes))
        assert (weights.role, weights.family) == ("lora", family)

    @pytest.mark.parametrize(("said", "family"), [("stable-diffusion-xl-v1-base/lora", "sdxl"), ("sd_v1", "sd15")])
    def test_or_by_what_its_trainer_wrote(self, said, family):
        shapes = header({"lora_unet_mid_block_resnets_0_conv1.lora_down.weight": (4, 8, 3, 3)})
        assert detect(shapes, {"ss_base_model_version": said}).family == family

    def test_clients_are_told(self, tmp_path):
        put(tmp_path, "Ink", LORAS[0][0])
        put(tmp_path, "pytorch_lora_lcm", LORAS[0][0])
        ink, lcm = found(tmp_path).capabilities("").loras
        assert (ink.id, ink.family, ink.weight, ink.sampler) == ("ink", "sd15", 1.0, "")
        assert (lcm.sampler, lcm.num_inference_steps, lcm.guidance_scale) == ("lcm", 6, 1.0)

    def test_one_of_another_family_is_refused_by_name(self, tmp_path):
        put(tmp_path, "Ink", LORAS[0][0])
        put(tmp_path, "Real", XL)
        index = found(tmp_path)
        with pytest.raises(ScumbleError, match=r"Ink is a LoRA for Stable Diffusion 1\.5") as caught:
            index.lora("ink", index.model("real"), 2)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_MISMATCH, "job.loras[2].model")
        assert caught.value.info.remedy.action is RemedyAction.REMOVE_LORA


class TestFewSteps:
    @pytest.mark.parametrize(
        ("name", "family", "expected"),
        [
            ("sdxl_lightning_4step_lora", "sdxl", ("euler", 4, 1.0, "trailing")),
            ("sdxl-lightning-8steps", "sdxl", ("euler", 8, 1.0, "trailing")),
            ("sdxl-turbo", "sdxl", ("euler_a", 4, 1.0, "trailing")),
            ("dreamshaperXL_v21TurboDPMSDE", "sdxl", ("euler_a", 4, 1.0, "trailing")),
            ("SDXLLightning8Steps", "sdxl", ("euler", 8, 1.0, "trailing")),
            ("flux1TurboAlpha", "flux", ("euler", 8, 3.5, "")),
            ("Hyper-SD15-4steps-lora", "sd15", ("ddim", 4, 1.0, "trailing")),
            ("Hyper-SDXL-8steps-CFG-lora", "sdxl", ("ddim", 8, 5.0, "trailing")),
            ("Hyper-SDXL-1step-lora", "sdxl", ("lcm", 4, 1.0, "")),
            ("TCD-SDXL-LoRA", "sdxl", ("tcd", 4, 1.0, "")),
            ("lcm-lora-sdv1-5", "sd15", ("lcm", 6, 1.0, "")),
            ("dmd2_sdxl_4step_lora_fp16", "sdxl", ("lcm", 4, 1.0, "")),
            ("sd3.5_large_turbo", "sd3", ("euler", 4, 1.0, "")),
            ("Hyper-FLUX.1-dev-8steps-lora", "flux", ("euler", 8, 3.5, "")),
        ],
    )
    def test_by_name(self, name, family, expected):
        way = few_steps(name, family)
        assert (way.sampler, way.num_inference_steps, way.guidance_scale, way.timestep_spacing) == expected

    @pytest.mark.parametrize(
        "name", ["realistic-vision", "hyperrealism", "hyperRealism", "hyper-detail", "turbocharged", "flcm"]
    )
    def test_other_names_say_nothing(self, name):
        assert few_steps(name, "sd15") is None

    def test_by_the_weights(self):
        assert few_steps("anything", "flux", takes_guidance=False).num_inference_steps == 4
        assert few_steps("anything", "flux", takes_guidance=True) is None
        lcm = few_steps("anything", "sd15", takes_guidance=True)
        assert (lcm.sampler, lcm.guidance_scale) == ("lcm", 8.0)

    def test_hyper_sd_for_flow_wants_an_eighth(self):
        assert few_steps("Hyper-FLUX.1-dev-8steps-lora", "flux", is_lora=True).weight == 0.125

    def test_a_models_defaults_follow_unless_it_says_otherwise(self, tmp_path):
        put(tmp_path, "juggernaut-lightning-6steps", XL)
        (model,) = found(tmp_path).models
        assert (model.sampler, model.num_inference_steps, model.guidance_scale) == ("euler", 6, 1.0)
        assert model.timestep_spacing == "trailing"
        (tmp_path / "juggernaut-lightning-6steps.json").write_text('{"guidance_scale": 2.0, "sampler": "euler_a"}')
        (model,) = found(tmp_path).models
        assert (model.sampler, model.num_inference_steps, model.guidance_scale) == ("euler_a", 6, 2.0)
