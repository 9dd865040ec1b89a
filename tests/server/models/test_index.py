"""What the index finds in folders, and what it says of files that can't be used."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.commands.models import as_table, text_of
from scumble_server.models.builtin import builtin_folder
from scumble_server.models.index import ModelIndex
from scumble_server.models.safetensors_header import BadFileError, read_header
from scumble_server.models.scan import default_model_dirs, scan
from scumble_server.models.seeded import write_seeded_model
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError

Shapes = dict[str, tuple[int, ...]]
CONTEXT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def safetensors(shapes: Shapes) -> bytes:
    """A sound file of one-byte zeros."""
    header, position = {}, 0
    for name, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        header[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


def checkpoint(context: int = 768, channels: int = 4, **more: tuple[int, ...]) -> bytes:
    return safetensors(
        {
            "model.diffusion_model.input_blocks.0.0.weight": (8, channels, 3, 3),
            f"model.diffusion_model.{CONTEXT}": (8, context),
            "first_stage_model.encoder.conv_in.weight": (1,),
            "cond_stage_model.transformer.x": (1,),
            **more,
        }
    )


def controlnet(context: int = 768) -> bytes:
    return safetensors({"control_model.zero_convs.0.0.weight": (1,), f"control_model.{CONTEXT}": (8, context)})


def found(folder: Path) -> ModelIndex:
    return scan((folder,), builtin=False)


def reason(folder: Path) -> str:
    index = found(folder)
    assert not index.models
    assert not index.controlnets
    assert len(index.unusable) == 1
    return index.unusable[0].reason


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "My Model"
    write_seeded_model(folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """A diffusers folder to damage."""
    shutil.copytree(whole, tmp_path / "My Model")
    return tmp_path / "My Model"


class TestSingleFiles:
    @pytest.mark.parametrize(("channels", "prediction"), [(4, "epsilon"), (9, "v_prediction")])
    def test_a_checkpoint(self, tmp_path, channels, prediction):
        more = {"v_pred": (0,)} if prediction == "v_prediction" else {}
        (tmp_path / "Deliberate v6 (fp16).safetensors").write_bytes(checkpoint(channels=channels, **more))
        (model,) = found(tmp_path).models
        assert (model.id, model.name, model.family) == ("deliberate-v6-fp16", "Deliberate v6 (fp16)", "sd15")
        assert (model.in_channels, model.prediction_type) == (channels, prediction)

    @pytest.mark.parametrize(
        ("name", "kinds"),
        [
            ("control_v11f1p_sd15_depth_fp16", ("depth",)),
            ("control_v11p_sd15_normalbae", ("normal",)),
            ("control_v11p_sd15_canny", ("canny",)),
            ("control_v11p_sd15s2_lineart_anime", ("lineart",)),
            ("control_v11p_sd15_seg", ("segmentation",)),
            ("control_v11p_sd15_softedge", ("softedge",)),
            ("sd-controlnet-hed", ("softedge",)),
            ("control_v11p_sd15_scribble", ("scribble",)),
            ("control-sd15-hedsafe_fp16", ("softedge",)),
            ("ControlNet-pidi", ("softedge",)),
            ("control_v11p_sd15_openpose", ("openpose",)),
            ("OpenPoseXL2", ("openpose",)),
            ("control_v11f1e_sd15_tile", ("tile",)),
            ("textile_patterns", ()),
            ("control_v11e_sd15_shuffle", ()),
        ],
    )
    def test_a_controlnet_tells_its_kind_by_its_name(self, tmp_path, name, kinds):
        (tmp_path / f"{name}.safetensors").write_bytes(controlnet())
        (net,) = found(tmp_path).controlnets
        assert (net.family, net.kinds) == ("sd15", kinds)

    def test_or_by_a_sidecar(self, tmp_path):
        (tmp_path / "mystery.safetensors").write_bytes(controlnet())
        (tmp_path / "mystery.json").write_text('{"name": "Mine", "control_kinds": ["normal"]}')
        (net,) = found(tmp_path).controlnets
        assert (net.name, net.kinds) == ("Mine", ("normal",))

    def test_equal_names_are_numbered_in_the_order_of_the_paths(self, tmp_path):
        for folder in ("a", "b", "c"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "Same Name.safetensors").write_bytes(checkpoint())
        index = found(tmp_path)
        assert [model.id for model in index.models] == ["same-name", "same-name-2", "same-name-3"]
        assert [model.path.parent.name for model in index.models] == ["a", "b", "c"]

    def test_no_file_can_take_the_built_in_models_id(self, tmp_path):
        (tmp_path / "starter.safetensors").write_bytes(checkpoint())
        assert found(tmp_path).models[0].id == "starter-2"

    @pytest.mark.parametrize("name", ["../../etc", "日本語", "...", "a" * 300])
    def test_ids_are_slugs(self, tmp_path, name):
        name = name.replace("/", "_")[:200]
        (tmp_path / f"x{name}.safetensors").write_bytes(checkpoint())
        (model,) = found(tmp_path).models
        assert model.id.replace("-", "").isalnum()
        assert model.id.isascii()
        assert len(model.id) <= 64


class TestUnusable:
    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"", "empty"),
            (b"abc", "too short"),
            (b"PK\x03\x04" + bytes(100), "pickle"),
            (b"<!DOCTYPE html><html>" + bytes(100), "not a .safetensors"),
            (struct.pack("<Q", 1000) + b"{}", "cut off"),
            (struct.pack("<Q", 2) + b"[]", "isn't a table"),
            (struct.pack("<Q", 4) + b"oops", "isn't readable"),
            (checkpoint()[:-1], "cut off"),
            (checkpoint() + b"x", "damaged"),
            (checkpoint(2048), "text encoder is missing from this SDXL"),
            (checkpoint(1280), "SDXL refiner"),
            (checkpoint(1024), "Stable Diffusion 2"),
            (safetensors({"model.diffusion_model.joint_blocks.0.x": (1,)}), "Stable Diffusion 3"),
            (safetensors({"double_blocks.0.img_attn.qkv.weight": (1,)}), "FLUX"),
            (safetensors({"lora_unet_x.lora_down.weight": (1,)}), "LoRA"),
            (safetensors({"encoder.conv_in.weight": (1,), "decoder.conv_in.weight": (1,)}), "VAE alone"),
            (safetensors({"down_blocks.0.resnets.0.conv1.weight": (1,)}), "UNet alone"),
            (safetensors({"what": (1,)}), "unfamiliar"),
            (safetensors({}), "unfamiliar"),
            (controlnet(1024), "Stable Diffusion 2"),
            (safetensors({"double_blocks.0.x": (1,), "single_stream_modulation.lin.weight": (1,)}), "FLUX.2"),
            (safetensors({"double_blocks.0.x": (1,), "img_in.weight": (8, 128)}), "picture beside the prompt"),
            (safetensors({"transformer_blocks.0.attn.add_k_proj.weight": (1,)}), "transformer alone"),
        ],
    )
    def test_the_reason_is_said(self, tmp_path, content, word):
        (tmp_path / "x.safetensors").write_bytes(content)
        assert word in reason(tmp_path)

    def test_a_checkpoint_without_its_vae(self, tmp_path):
        shapes = {
            "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
            f"model.diffusion_model.{CONTEXT}": (8, 768),
        }
        (tmp_path / "x.safetensors").write_bytes(safetensors(shapes))
        assert "VAE is missing" in reason(tmp_path)

    @pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".CKPT"])
    def test_pickles_are_refused_unread(self, tmp_path, suffix):
        (tmp_path / f"model{suffix}").write_bytes(checkpoint())
        assert "run code" in reason(tmp_path)

    def test_a_sidecar_that_makes_no_sense(self, tmp_path):
        (tmp_path / "x.safetensors").write_bytes(checkpoint())
        for text in ("{", "[]", '{"sampler": "magic"}', '{"num_inference_steps": 0}', '{"width": true}'):
            (tmp_path / "x.json").write_text(text)
            assert found(tmp_path).unusable

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_file_or_a_reason(self, tmp_path_factory, content):
        path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
        path.write_bytes(content)
        with pytest.raises(BadFileError):
            read_header(path)

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda x: st.lists(x) | st.dictionaries(st.text(max_size=12), x),
        )
    )
    def test_any_header_is_read_or_refused(self, tmp_path_factory, table):
        text = json.dumps({"w": {"dtype": "F32", "shape": table, "data_offsets": table}, "x": table}).encode()
        path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        with pytest.raises(BadFileError):
            read_header(path)


class TestFolders:
    def test_a_model_with_its_own_controlnets(self, whole):
        (model,) = found(whole.parent).models
        assert model.id == "my-model"
        assert set(model.controlnets) == {"depth", "normal"}
        assert found(whole.parent).capabilities("").models[0].control_kinds == ("depth", "normal")

    def test_nothing_inside_is_listed_by_itself(self, whole):
        assert found(whole.parent).controlnets == ()

    @pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
    def test_a_missing_part(self, copied, part):
        shutil.rmtree(copied / part)
        assert part in reason(copied.parent)

    def test_a_truncated_part(self, copied):
        weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
        assert "unet/diffusion_pytorch_model.safetensors" in reason(copied.parent)

    def test_a_missing_shard(self, copied):
        index = {"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "lost-2-of-2.safetensors"}}
        (copied / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
        assert "lost-2-of-2" in reason(copied.parent)

    def test_only_pickled_weights(self, copied):
        weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".bin"))
        assert ".bin" in reason(copied.parent)

    def test_a_controlnet_folder(self, whole, tmp_path):
        shutil.copytree(whole / "controlnet_depth", tmp_path / "sd-controlnet-depth")
        (net,) = found(tmp_path).controlnets
        assert (net.id, net.kinds, net.family) == ("sd-controlnet-depth", ("depth",), "sd15-custom")

    def test_a_controlnet_of_another_class(self, whole, tmp_path):
        shutil.copytree(whole / "controlnet_depth", tmp_path / "union")
        config = tmp_path / "union" / "config.json"
        config.write_text(config.read_text().replace("ControlNetModel", "ControlNetXSAdapter"))
        assert "ControlNetXSAdapter" in reason(tmp_path)

    def test_a_folder_that_is_not_there_is_empty(self, tmp_path):
        assert found(tmp_path / "nowhere") == ModelIndex()


class TestChoosing:
    @pytest.fixture
    def index(self, tmp_path) -> ModelIndex:
        (tmp_path / "a.safetensors").write_bytes(checkpoint())
        (tmp_path / "control_depth.safetensors").write_bytes(controlnet())
        (tmp_path / "other.safetensors").write_bytes(controlnet())
        (tmp_path / "other.json").write_text('{"family": "sd15-custom", "control_kinds": ["canny"]}')
        (tmp_path / "broken.safetensors").write_bytes(b"")
        return scan((tmp_path,))

    def test_the_family_chooses_for_a_kind(self, index):
        assert index.controlnet("", "depth", index.model("a"), 0).id == "control-depth"
        assert index.controlnet("", "depth", index.model("starter"), 0).id == "starter-depth"

    def test_a_controlnet_of_another_family_is_refused_by_name(self, index):
        with pytest.raises(ScumbleError) as caught:
            index.controlnet("other", "canny", index.model("a"), 2)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_MISMATCH, "job.controls[2].model")
        assert caught.value.info.remedy.action == RemedyAction.REMOVE_CONTROL

    def test_an_unusable_one_says_why(self, index):
        with pytest.raises(ScumbleError) as caught:
            index.model("broken")
        assert caught.value.code == ErrorCode.MODEL_INVALID
        assert "empty" in caught.value.info.message

    def test_the_capabilities_list_what_can_be_used(self, index):
        capabilities = index.capabilities("a device")
        assert [model.id for model in capabilities.models] == ["starter", "a"]
        assert [net.id for net in capabilities.controlnets] == ["control-depth", "other"]
        assert capabilities.models[1].control_kinds == ("depth",)
        assert capabilities.device == "a device"

    def test_the_command_shows_all_three_groups(self, index, tmp_path):
        text = " ".join(text_of(index, (tmp_path,)).split())
        for word in ("starter", "control-depth", "CAN'T BE USED", "the file is empty"):
            assert word in text
        table = json.loads(json.dumps(as_table(index)))
        assert [entry["id"] for entry in table["unusable"]] == ["broken"]


def test_the_built_in_model_is_sound():
    (model,) = scan().models
    assert model.id == "starter"
    assert model.path == builtin_folder()
    assert set(model.controlnets) == {"depth", "normal"}


def test_folders_can_be_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SCUMBLE_MODELS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert default_model_dirs() == (tmp_path / "a", tmp_path / "b")


def test_looking_through_folders_needs_no_torch(whole):
    code = (
        "import sys; from pathlib import Path; from scumble_server.models.scan import scan\n"
        f"scan((Path({str(whole.parent)!r}),)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_small_models_own_number_of_latent_channels_is_fine_if_its_parts_agree(copied) -> None:
    def say(component: str, **settings: object) -> None:
        path = copied / component / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    say("vae", latent_channels=6)
    assert "nothing this version can run" in reason(copied.parent)
    say("unet", in_channels=6, addition_embed_type="text")
    (model,) = found(copied.parent).models
    assert (model.in_channels, model.family) == (6, "starter")
