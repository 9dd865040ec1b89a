"""An intrinsics pipeline as an estimator of maps: found, loaded, asked, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import MarigoldIntrinsicsPipeline
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.marigold import load_marigold
from scumble_server.models.scan import scan
from scumble_server.service import JobCancelled
from scumble_server.texturing.maps.light import luminance
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MAPS, GenerateJob

from .conftest import CPU, Hooks, picture
from .intrinsics_model import LIGHTING, write_intrinsics_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("estimators") / "library"
    write_intrinsics_model(found / "iid-appearance")
    write_intrinsics_model(found / "iid-lighting", LIGHTING)
    shutil.rmtree(found / "iid-appearance-parts")
    shutil.rmtree(found / "iid-lighting-parts")
    return found


def entry(folder: Path, name: str = "iid-appearance"):
    return scan((folder,), builtin=False).estimator(name)


def linear(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


class TestInTheLibrary:
    def test_they_are_listed_with_what_they_tell_and_are_no_models(self, folder):
        index = scan((folder,), builtin=False)
        told = [(info.id, info.maps) for info in index.capabilities("CPU").map_estimators]
        assert told == [
            ("built-in", MAPS),
            ("iid-appearance", ("albedo", "roughness", "metallic")),
            ("iid-lighting", ("albedo",)),
        ]
        assert (index.models, index.unusable) == ((), ())

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda it: shutil.rmtree(it / "vae"), "vae has no .safetensors"),
            (lambda it: shutil.rmtree(it / "tokenizer"), "tokenizer is missing"),
            (lambda it: edit(it / "model_index.json", target_properties=None), "doesn't make 0 pictures"),
            (lambda it: edit(it / "model_index.json", default_denoising_steps=None), "default_denoising_steps"),
            (lambda it: edit(it / "unet/config.json", in_channels=8), "doesn't look at"),
            (lambda it: cut(it / "unet/diffusion_pytorch_model.safetensors"), "unet/diffusion_pytorch_model"),
        ],
    )
    def test_what_is_not_whole_is_listed_with_the_reason_and_refused_by_name(self, folder, tmp_path, change, reason):
        shutil.copytree(folder / "iid-appearance", tmp_path / "iid")
        change(tmp_path / "iid")
        index = scan((tmp_path,), builtin=False)
        assert index.estimators == ()
        assert reason in index.unusable[0].reason
        with pytest.raises(ScumbleError) as caught:
            index.estimator("iid")
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_INVALID, "job.map_estimator")

    def test_what_nobody_has_is_missing(self, folder):
        with pytest.raises(ScumbleError) as caught:
            scan((folder,), builtin=False).estimator("iid-nothing")
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_MISSING, "job.map_estimator")

    def test_weights_of_another_network_are_refused_when_they_are_loaded(self, folder, tmp_path):
        shutil.copytree(folder / "iid-appearance", tmp_path / "iid")
        edit(tmp_path / "iid/unet/config.json", block_out_channels=[16, 64])
        with pytest.raises(ScumbleError) as caught:
            load_marigold(entry(tmp_path, "iid"), CPU)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_INVALID, "job.map_estimator")


class TestWhatItSays:
    def test_is_what_the_pipeline_itself_says_with_albedo_made_linear(self, folder):
        image = picture(1, 96, 64)
        said = load_marigold(entry(folder), CPU).appearances([image, image], Hooks())
        pipeline = MarigoldIntrinsicsPipeline.from_pretrained(folder / "iid-appearance")
        pipeline.set_progress_bar_config(disable=True)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0
        plain = pipeline(tensor, generator=torch.Generator().manual_seed(0), output_type="pt").prediction
        assert plain.shape == (2, 3, 64, 96)
        torch.testing.assert_close(said[0].albedo, linear(plain[0]))
        torch.testing.assert_close(said[0].roughness, plain[1, 0])
        torch.testing.assert_close(said[0].metallic, plain[1, 1])
        torch.testing.assert_close(said[1].albedo, said[0].albedo)  # the same picture has the same maps

    def test_proportions_are_brought_to_the_pictures_brightness(self, folder):
        image = picture(2, 64, 64)
        said = load_marigold(entry(folder, "iid-lighting"), CPU).appearances([image], Hooks())[0]
        assert (said.roughness, said.metallic) == (None, None)
        whole = linear(torch.from_numpy(image).permute(2, 0, 1) / 255.0)
        assert float(luminance(said.albedo).median()) == pytest.approx(float(luminance(whole).median()), rel=0.1)

    def test_it_stops_within_a_step(self, folder):
        class Stopping(Hooks):
            asked = 0

            def check_cancelled(self):
                self.asked += 1
                if self.asked > 2:  # before the picture, and before its first step
                    raise JobCancelled

        hooks = Stopping()
        with pytest.raises(JobCancelled):
            load_marigold(entry(folder), CPU).appearances([picture(1)], hooks)
        assert hooks.asked == 3


def test_a_job_has_its_maps_of_it_and_the_others_of_the_built_in_one(models_folder, folder):
    executor = EngineExecutor((models_folder, folder), "cpu")
    job = GenerateJob(
        "moss", model="tiny", width=64, height=64, num_inference_steps=1, maps=MAPS, map_estimator="iid-appearance"
    )
    hooks = Hooks()
    output = executor.run(job, {}, hooks)
    assert output.provenance["maps"]["estimators"] == {
        "albedo": "iid-appearance",
        "roughness": "iid-appearance",
        "metallic": "iid-appearance",
        "normal": "built-in",
        "height": "built-in",
        "ao": "built-in",
    }
    said = load_marigold(entry(folder), CPU).appearances([output.tensors["image/0"]], hooks)[0]
    difference = output.tensors["roughness/0"] / 255.0 - np.clip(said.roughness.numpy(), 0.0, 1.0)
    assert np.abs(difference).max() < 0.08  # the device may be of another precision


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
