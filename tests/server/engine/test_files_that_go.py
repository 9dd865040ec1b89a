"""Files that vanish, shrink or lie about themselves between two jobs cost one job at most, with a typed error."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scumble_server.engine.executor import EngineExecutor
from scumble_server.models.seeded import write_seeded_model
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import Control, GenerateJob, Lora

from .conftest import Hooks, picture


@pytest.fixture
def library(models_folder, tmp_path):
    """A folder with the model "mine", which may be done away with, and an executor that knows "tiny", too."""
    shutil.copytree(models_folder / "tiny", tmp_path / "mine")
    return tmp_path / "mine", EngineExecutor((models_folder, tmp_path), "cpu")


def painted(executor, model="mine", tensors=None, **changes) -> np.ndarray:
    job = GenerateJob("a wall", model=model, width=64, height=64, num_inference_steps=1, **changes)
    return executor.run(job, tensors or {}, Hooks(looking=False)).tensors["image/0"]


def refusal(executor, **changes) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        painted(executor, **changes)
    assert painted(executor, "tiny").any(), "the next job is well"
    return caught.value


def test_a_model_deleted_while_it_is_loaded(library):
    folder, executor = library
    painted(executor)
    shutil.rmtree(folder)
    # It is in memory, unless it has to be loaded again; then that is told as of any model that can't be.
    code = None
    try:
        painted(executor)
    except ScumbleError as error:
        code = error.code
    assert code in (None, ErrorCode.MODEL_MISSING)
    painted(executor, "tiny")
    executor.look_for_models()
    error = refusal(executor)
    assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.model")


def test_a_model_deleted_after_it_was_found(library):
    """What libraries say of files that aren't there helps nobody."""
    folder, executor = library
    executor.capabilities()
    shutil.rmtree(folder)
    error = refusal(executor)
    assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.model")
    assert "no longer where it was found" in error.info.message
    assert error.info.remedy.action is RemedyAction.CHOOSE_MODEL


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("keep", [0, 1000])
def test_weights_cut_off_after_they_were_found(library, part, keep):
    folder, executor = library
    executor.capabilities()
    (weights,) = (folder / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:keep])
    error = refusal(executor)
    assert error.code is ErrorCode.MODEL_INVALID
    assert "Seeded" in error.info.message or "mine" in error.info.message


def test_a_controlnet_deleted_after_it_was_found(library):
    folder, executor = library
    painted(executor)
    shutil.rmtree(folder / "controlnet_depth")
    error = refusal(executor, controls=(Control("depth", image="shown"),), tensors={"shown": picture(1)})
    assert error.code in (ErrorCode.MODEL_INVALID, ErrorCode.MODEL_MISSING)


@pytest.mark.parametrize("after", ["deleted", "emptied", "cut off"])
def test_a_lora_that_went(models_folder, tmp_path, after):
    path = tmp_path / "ink.safetensors"
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    width = torch.zeros(2, 768)
    save_file({f"{layer}.lora_A.weight": width, f"{layer}.lora_B.weight": torch.zeros(8, 2)}, path)
    path.with_suffix(".json").write_text('{"family": "starter"}')
    executor = EngineExecutor((models_folder, tmp_path), "cpu")
    assert [lora.id for lora in executor.capabilities().loras] == ["ink"]
    if after == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"" if after == "emptied" else path.read_bytes()[:-100])
    error = refusal(executor, model="tiny", loras=(Lora("ink"),))
    assert error.code in (ErrorCode.MODEL_INVALID, ErrorCode.MODEL_MISSING)


def test_weights_of_another_size_than_their_configuration_says(library, tmp_path):
    """Mislabelled: the network of one model, the configuration of another."""
    folder, executor = library
    write_seeded_model(tmp_path / "other", seed=3, in_channels=9)
    shutil.copy(tmp_path / "other" / "unet" / "diffusion_pytorch_model.safetensors", folder / "unet")
    assert refusal(executor).code is ErrorCode.MODEL_INVALID


@pytest.mark.parametrize("size", [(1, 1), (1, 4096), (4096, 1)])
def test_pictures_of_any_size_to_begin_with(library, size):
    _, executor = library
    start = np.full((*size, 3), 90, np.uint8)
    mask = np.full(size, 255, np.uint8)
    assert painted(executor, tensors={"i": start}, init_image="i", denoising_strength=0.5).shape == (64, 64, 3)
    found = painted(executor, tensors={"i": start, "m": mask}, init_image="i", mask="m")
    assert found.shape == (64, 64, 3)
    shown = painted(executor, tensors={"i": start}, controls=(Control("depth", image="i"),))
    assert shown.shape == (64, 64, 3)
