"""Models of other programs are found where those keep them, and nothing there is changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scumble_server.models.folder_list import add_folder, read_folders, remove_folder, with_added
from scumble_server.models.places import likely_places, program_of
from scumble_server.models.scan import scan
from scumble_server.models.seeded import write_seeded_model
from scumble_shared.errors import ErrorCode, ScumbleError

CONTEXT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def put_controlnet(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"control_model.zero_convs.0.0.weight": (1,), f"control_model.{CONTEXT}": (8, 768)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, path)
    return path


def put_encoder(path: Path) -> None:
    """Weights that paint nothing by themselves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"text_model.embeddings.weight": np.zeros(4, np.float32)}, path)


def names_in(*folders: Path) -> dict[str, set[str]]:
    index = scan(folders, builtin=False)
    return {
        "controlnets": {net.name for net in index.controlnets},
        "models": {model.name for model in index.models},
        "unusable": {entry.name for entry in index.unusable},
    }


@pytest.fixture
def comfyui(tmp_path):
    home = tmp_path / "ComfyUI"
    (home / "models" / "checkpoints").mkdir(parents=True)
    put_controlnet(home / "models" / "controlnet" / "depth.safetensors")
    put_encoder(home / "models" / "clip" / "t5xxl.safetensors")
    return home


@pytest.fixture
def hugging_face(tmp_path):
    """As ``huggingface_hub`` lays it out: blobs, and snapshots of links to them."""
    hub = tmp_path / "huggingface" / "hub"
    repository = hub / "models--owner--my-depth"
    blob = put_controlnet(repository / "blobs" / "0a1b")
    for commit in ("c" * 40, "d" * 40):
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        try:
            (folder / "net.safetensors").symlink_to(blob)
        except OSError:
            pytest.skip("this system doesn't allow links")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    language = hub / "models--owner--writer" / "snapshots" / ("e" * 40)
    put_encoder(language / "model.safetensors")
    (language / "config.json").write_text("{}")
    return hub


class TestPrograms:
    def test_comfyui_whole_or_its_models_folder(self, comfyui):
        expected = {"controlnets": {"depth"}, "models": set(), "unusable": set()}
        assert (program_of(comfyui), names_in(comfyui)) == ("ComfyUI", expected)
        assert (program_of(comfyui / "models"), names_in(comfyui / "models")) == ("ComfyUI", expected)

    def test_a1111_with_the_folder_of_its_controlnet_extension(self, tmp_path):
        home = tmp_path / "stable-diffusion-webui"
        (home / "models" / "Stable-diffusion").mkdir(parents=True)
        put_controlnet(home / "extensions" / "sd-webui-controlnet" / "models" / "canny.safetensors")
        put_encoder(home / "models" / "Codeformer" / "face.safetensors")
        assert program_of(home) == "AUTOMATIC1111"
        assert names_in(home) == {"controlnets": {"canny"}, "models": set(), "unusable": set()}

    def test_the_hugging_face_cache_by_repository_and_only_what_main_is(self, hugging_face):
        for folder in (hugging_face, hugging_face.parent):
            assert program_of(folder) == "Hugging Face"
            assert names_in(folder) == {"controlnets": {"my-depth"}, "models": set(), "unusable": set()}

    def test_a_pipeline_in_the_hugging_face_cache_is_called_like_its_repository(self, tmp_path):
        write_seeded_model(tmp_path / "models--owner--dreams" / "snapshots" / ("a" * 40))
        (model,) = scan((tmp_path,), builtin=False).models
        assert model.id == "dreams"

    def test_any_other_folder_is_looked_through_whole(self, tmp_path):
        put_controlnet(tmp_path / "a" / "b" / "depth.safetensors")
        assert program_of(tmp_path) == ""
        assert names_in(tmp_path)["controlnets"] == {"depth"}

    def test_where_they_usually_are(self, comfyui, hugging_face):
        environment = {"HF_HOME": str(hugging_face.parent)}
        assert set(likely_places(environment, home=comfyui.parent)) == {hugging_face, comfyui}
        assert likely_places({}, home=comfyui / "models") == ()


class TestTheLibrarysList:
    def test_a_folder_that_was_added_is_part_of_every_look_until_it_is_removed(self, tmp_path, comfyui):
        library = tmp_path / "library"
        add_folder(library, comfyui)
        add_folder(library, comfyui)  # once is enough
        assert read_folders(library) == (comfyui,)
        assert names_in(library)["controlnets"] == {"depth"}
        remove_folder(library, comfyui)
        assert names_in(library)["controlnets"] == set()
        assert (comfyui / "models" / "controlnet" / "depth.safetensors").is_file()

    def test_a_folder_that_is_named_twice_is_read_once(self, tmp_path, comfyui):
        library = tmp_path / "library"
        add_folder(library, comfyui)
        assert with_added((library, comfyui)) == (library, comfyui)
        assert with_added((library, Path(f"{comfyui}{os.sep}."))) == (library, comfyui)

    @pytest.mark.parametrize("where", ["nowhere", ".", "library", "library/inner", "relative"])
    def test_what_cannot_be_added_is_refused(self, tmp_path, where):
        library = tmp_path / "library"
        (library / "inner").mkdir(parents=True)
        folder = Path("relative") if where == "relative" else tmp_path / where
        with pytest.raises(ScumbleError) as caught:
            add_folder(library, folder)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "target")
        assert read_folders(library) == ()

    def test_removing_what_is_not_listed_says_how_it_got_there(self, tmp_path):
        with pytest.raises(ScumbleError) as caught:
            remove_folder(tmp_path, tmp_path / "other")
        assert caught.value.code is ErrorCode.MODEL_MISSING
        assert "SCUMBLE_MODELS" in caught.value.info.remedy.label

    @pytest.mark.parametrize("text", ["", "[]", '{"folders": 3}', '{"folders": [3, null]}', "{" * 5000])
    def test_a_damaged_list_is_an_empty_one(self, tmp_path, text):
        (tmp_path / ".scumble").mkdir()
        (tmp_path / ".scumble" / "folders.json").write_text(text)
        assert read_folders(tmp_path) == ()
