"""Jobs with reference pictures, as the worker has them done: adapters found in folders, every task, every memory."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scumble_server.commands.models import as_table, text_of
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.family import LoadedModel
from scumble_server.engine.references import LoadedAdapter, LoadedEncoder
from scumble_server.memory.machine import GIB, Machine
from scumble_server.models.index import ModelIndex
from scumble_server.models.scan import scan
from scumble_server.texturing.shapes import torus
from scumble_server.texturing.views import place
from scumble_shared.camera import pack_matrix
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import (
    Control,
    GenerateJob,
    Lora,
    MeshRef,
    Reference,
    Region,
    TextureJob,
    TextureView,
    UpscaleJob,
)

from .conftest import Hooks, picture
from .tiny_adapters import write_adapter, write_encoder, write_encoder_file

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]

APART = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB)
SHAPE = torus(rings=12, segments=24)
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs")
VIEWS = tuple(TextureView(place([SHAPE.mesh()], azimuth, 20.0, (64, 64)).camera) for azimuth in (0.0, 180.0))
LEFT = np.zeros((48, 48), np.uint8)
LEFT[:, :24] = 255
TENSORS = {
    "vertices": SHAPE.vertices,
    "triangles": SHAPE.triangles,
    "normals": SHAPE.normals,
    "uvs": SHAPE.uvs,
    "image": picture(1),
    "mask": np.eye(64, dtype=np.uint8) * 255,
    "moss": picture(31, 40, 90),
    "rust": picture(32, 33, 20),
    "left": LEFT,
    "right": 255 - LEFT,
    "everywhere": np.full((64, 64), 255, np.uint8),
    "half": np.repeat(np.eye(2, dtype=np.uint8)[:1] * 255, 32, axis=1).repeat(64, axis=0),
}
BOTH = (Reference("moss", weight=0.8), Reference("rust", weight=0.5, use="style"))
MODELS = {"sd15": "tiny", "sdxl": "sdxl"}


@pytest.fixture(scope="module")
def library(models_folder, family_folders, families, tiny, tmp_path_factory):
    """An adapter for each family that takes them, with their encoder, in the layout of h94/IP-Adapter."""
    place = tmp_path_factory.mktemp("library")
    for name, path in {"tiny": models_folder / "tiny", **family_folders}.items():
        (place / name).symlink_to(path, target_is_directory=True)
    write_encoder(place / "models" / "image_encoder")
    for family, model in (("sd15", tiny), ("sdxl", families["sdxl"].model)):
        path = place / "models" / f"ip-adapter_{family}.safetensors"
        write_adapter(path, model.unet)
        known = {"sd15": "starter"}.get(family, family)  # what the tiny model says of itself
        path.with_suffix(".json").write_text(json.dumps({"family": known}))
        save_file(lora_of(model.unet), place / f"lora_{family}.safetensors", {"ss_base_model_version": "sdxl"})
        (place / f"lora_{family}.json").write_text(json.dumps({"family": known}))
    write_header(place / "models" / "ip-adapter_real.safetensors", 768)
    return place


def executor_folder(executor: EngineExecutor) -> Path:
    (folder,) = executor._model_dirs
    return folder


def lora_of(unet: Any) -> dict[str, torch.Tensor]:
    """That changes one layer, under kohya's names."""
    torch.manual_seed(4)
    rows, columns = unet.mid_block.attentions[0].proj_in.weight.shape[:2]
    name = "lora_unet_mid_block_attentions_0_proj_in"
    return {f"{name}.lora_down.weight": torch.randn(2, columns), f"{name}.lora_up.weight": torch.randn(rows, 2) * 0.1}


def write_header(path: Path, width: int) -> None:
    """As much of an adapter as tells what it is for."""
    projection = torch.zeros(4 * width, 24)
    save_file({"image_proj.proj.weight": projection, "ip_adapter.1.to_k_ip.weight": torch.zeros(320, width)}, path)


@pytest.fixture(scope="module")
def executor(library) -> EngineExecutor:
    return EngineExecutor((library,), "cpu")


@pytest.fixture(params=["sd15", "sdxl"])
def family(request) -> str:
    return str(request.param)


def picture_of(family: str, **changes) -> GenerateJob:
    settings = {"width": 64, "height": 64, "sampler": "euler", "num_inference_steps": 3, "guidance_scale": 3.0}
    return GenerateJob("a brick wall", model=MODELS[family], **{**settings, **changes})


def done(executor, job, tensors=TENSORS, hooks=None) -> dict[str, np.ndarray]:
    return dict(executor.run(job, tensors, hooks or Hooks()).tensors)


def image(executor, job, **settings) -> np.ndarray:
    return done(executor, job, **settings)["image/0"]


def apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


def refusal(executor, job, tensors=TENSORS) -> ScumbleError:
    with pytest.raises(ScumbleError) as refused:
        executor.run(job, tensors, Hooks())
    return refused.value


class TestEveryTask:
    def test_pictures_and_then_without_to_the_bit(self, executor, family):
        plain = picture_of(family)
        before = image(executor, plain)
        assert apart(image(executor, replace(plain, references=BOTH)), before) > 1
        assert (image(executor, plain) == before).all()

    def test_the_same_job_gives_the_same_pixels(self, executor, family):
        job = picture_of(family, references=BOTH, sampler="euler_a")
        assert (image(executor, job) == image(executor, job)).all()

    def test_a_picture_is_looked_at_once(self, executor, family):
        stages = []
        for seed in (1, 2):
            hooks = Hooks()
            image(executor, picture_of(family, references=(Reference("image"),), seed=seed), hooks=hooks)
            stages.append("looking at references" in [stage for stage, *_ in hooks.stages])
        assert stages == [True, False]

    def test_with_everything_else_at_once(self, executor, family):
        """Repainting, a ControlNet, a batch, a draft, previews."""
        controls = (Control("depth", image="image"),)
        job = picture_of(family, controls=controls, init_image="image", mask="mask", batch_size=2, quality="draft")
        hooks = Hooks()
        with_them = done(executor, replace(job, references=BOTH, denoising_strength=0.8), hooks=hooks)
        without = done(executor, replace(job, denoising_strength=0.8))
        assert hooks.previews
        for name in ("image/0", "image/1"):
            assert (with_them[name] != without[name]).any()

    def test_a_mask_says_where(self, executor, family):
        """By how much more one side changes than the other, since each part of a picture sees the others."""
        plain = picture_of(family, num_inference_steps=1)

        def left_to_right(mask: str) -> float:
            masked = replace(plain, references=(Reference("moss", weight=3.0, mask=mask),))
            change = np.abs(image(executor, masked).astype(int) - image(executor, plain)).mean(axis=(0, 2))
            return float(change[:16].mean() / change[-16:].mean())

        assert left_to_right("left") > 1.5 * left_to_right("right")

    @pytest.mark.parametrize("size", [(72, 56), (1, 40), (100, 8)])
    def test_a_mask_in_pictures_of_any_size(self, executor, family, size):
        width, height = size
        job = picture_of(family, width=width, height=height, references=(Reference("moss", mask="left"),))
        assert image(executor, job).shape == (height, width, 3)

    def test_a_seamless_picture(self, executor, family):
        job = picture_of(family, tiling="xy", references=(Reference("moss", mask="left"),))
        assert apart(image(executor, job), image(executor, replace(job, references=()))) > 0.5

    @pytest.mark.supports("references, textures all around")
    @pytest.mark.parametrize("method", ["synchronised", "sequential"])
    def test_textures(self, executor, family, method):
        common = {"sampler": "euler", "num_inference_steps": 3, "guidance_scale": 3.0, "model": MODELS[family]}
        job = TextureJob("a wall", (MESH,), views=VIEWS, texture_size=32, method=method, refine_strength=0.5, **common)
        before = done(executor, job)
        with_them = done(executor, replace(job, references=BOTH))
        for name in ("view/0", "view/1"):
            assert apart(with_them[name], before[name]) > 1
        again = done(executor, job)
        assert all((again[name] == before[name]).all() for name in before)

    @pytest.mark.supports("references, enlarging")
    def test_enlarging_with_a_mask(self, executor, family):
        """The mask is of the whole picture, which is worked on in windows."""
        common = {"sampler": "euler", "num_inference_steps": 3, "guidance_scale": 3.0, "model": MODELS[family]}
        job = UpscaleJob("image", tile_size=64, tile_overlap=16, denoising_strength=0.4, **common)
        before = image(executor, job)
        with_them = image(executor, replace(job, references=(Reference("moss", weight=2.0, mask="left"),)))
        change = np.abs(with_them.astype(int) - before).mean(axis=(0, 2))
        assert change[:48].mean() > 2 * change[-32:].mean()

    def test_with_a_lora_and_back(self, executor, family):
        plain = picture_of(family)
        before = image(executor, plain)
        loras = (Lora(f"lora-{family}", 0.8),)
        with_lora = image(executor, replace(plain, loras=loras))
        both = image(executor, replace(plain, loras=loras, references=BOTH))
        assert apart(with_lora, before) > 0.1
        assert apart(both, with_lora) > 1
        assert (image(executor, plain) == before).all()

    def test_with_prompts_of_parts(self, executor, family):
        """One that says the same everywhere changes nothing, with pictures beside it as without."""
        job = picture_of(family, references=(*BOTH, Reference("moss", mask="left")))
        everywhere = replace(job, regions=(Region(job.prompt, mask="everywhere"),))
        assert apart(image(executor, everywhere), image(executor, job)) < 0.1
        other = replace(job, regions=(Region("red rust", mask="half"),))
        assert apart(image(executor, other), image(executor, job)) > 0.1
        without = replace(other, references=())
        assert apart(image(executor, other), image(executor, without)) > 1

    def test_what_was_used_is_told(self, executor, family):
        told = executor.run(picture_of(family, references=BOTH), TENSORS, Hooks()).provenance
        assert told["adapters"] == [f"ip-adapter_{family}"] * 2
        assert "adapters" not in executor.run(picture_of(family), TENSORS, Hooks()).provenance


@pytest.fixture(scope="module")
def small(library) -> EngineExecutor:
    """On a device that is said to be apart, as a graphics card is."""
    return EngineExecutor((library,), "cpu", machine=APART)


class TestMemory:
    """Shown without a device of its own, by what is said to be there."""

    @pytest.mark.parametrize("memory", ["low", "lowest"])
    def test_parts_and_layers_that_come_and_go(self, executor, small, family, memory):
        job = picture_of(family, references=BOTH)
        got = image(small, replace(job, memory=memory))
        if memory == "low":
            assert (got == image(executor, job)).all()
        else:
            assert apart(got, image(executor, job)) < 8

    def test_a_batch_a_picture_at_a_time(self, executor, small, family):
        job = picture_of(family, references=(*BOTH, Reference("moss", mask="left")), batch_size=3)
        together, apiece = done(executor, job), done(small, replace(job, memory="low"))
        for name, made in together.items():
            assert apart(apiece[name], made) < 0.1

    @pytest.mark.parametrize("memory", ["low", "lowest"])
    def test_what_looks_is_there_when_it_does(self, small, family, memory):
        """The adapter with the network, and its encoder while that is away."""
        job = picture_of(family, references=BOTH, memory=memory)
        image(small, job)
        loaded = [held.loaded for held in small._resident._models.values()]
        room = [one.room for one in loaded if isinstance(one, LoadedModel)][-1]  # of the one that was used last
        adapters = [one for one in loaded if isinstance(one, LoadedAdapter)]
        (encoder,) = [one.module for one in loaded if isinstance(one, LoadedEncoder)]
        layers = {part for one in adapters for looking in one.attentions.values() for part in looking.modules()}
        ran = Counter()

        def check(module, arguments, made):
            if module in layers:
                ran["adapter", room.stages.now] += 1
            if module is encoder:
                ran["encoder", room.stages.now] += 1

        handle = torch.nn.modules.module.register_module_forward_hook(check)
        try:
            image(small, job, tensors={**TENSORS, "moss": picture(len(memory) + len(family), 30, 30)})
        finally:
            handle.remove()
        assert set(ran) == {("adapter", "network"), ("encoder", "text")}

    def test_what_it_takes_is_told_before(self, small, family):
        needed = small._needed(picture_of(family, references=BOTH))
        with_them = small._fitter.fit(needed, picture_of(family, references=BOTH))
        without = small._fitter.fit(replace(needed, adapters=()), picture_of(family))
        (adapter,) = with_them.adapters
        assert adapter.device > 0
        assert with_them.encoder.ram > 0
        assert with_them.estimate.peak.device >= without.estimate.peak.device + adapter.device


class TestWhatCannotBe:
    def test_an_adapter_of_another_family(self, executor):
        error = refusal(executor, picture_of("sdxl", references=(Reference("moss", "ip-adapter-real"),)))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISMATCH, "job.references[0].model")
        assert "Stable Diffusion 1.5" in error.info.message
        assert "SDXL" in error.info.message
        assert error.info.remedy.action is RemedyAction.REMOVE_REFERENCE

    @pytest.mark.parametrize("model", ["sd3", "flux"])
    def test_families_without(self, executor, model):
        job = replace(picture_of("sd15"), model=model, references=(Reference("moss"),))
        error = refusal(executor, job)
        assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "job.references[0].model")
        assert {"sd3": "Stable Diffusion 3", "flux": "FLUX"}[model] in error.info.message

    def test_one_that_nobody_has(self, executor):
        error = refusal(executor, picture_of("sd15", references=(Reference("moss"), Reference("moss", "gone"))))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.references[1].model")

    @pytest.mark.parametrize(
        "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
    )
    def test_what_is_no_picture(self, executor, array):
        job = picture_of("sd15", references=(Reference("moss"), Reference("bad")))
        error = refusal(executor, job, {**TENSORS, "bad": array})
        assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "job.references[1].image")

    def test_what_is_no_mask(self, executor):
        error = refusal(executor, picture_of("sd15", references=(Reference("moss", mask="image"),)))
        assert error.info.field == "job.references[0].mask"

    def test_the_server_lives_on(self, executor):
        assert image(executor, picture_of("sd15", references=BOTH)).std() > 0


class TestFiles:
    @pytest.fixture
    def copy(self, library, tmp_path):
        """Of the adapters alone, that something may happen to."""
        shutil.copytree(library / "models", tmp_path / "models")
        (tmp_path / "tiny").symlink_to((library / "tiny").resolve(), target_is_directory=True)
        return tmp_path

    def index(self, folder) -> ModelIndex:
        return scan((folder,), builtin=False)

    def test_adapters_and_their_encoder_are_found(self, library):
        index = self.index(library)
        assert sorted(one.id for one in index.adapters) == ["ip-adapter-real", "ip-adapter-sd15", "ip-adapter-sdxl"]
        assert [one.id for one in index.encoders] == ["image-encoder"]
        assert all(one.encoder == index.encoders[0] for one in index.adapters)
        infos = index.capabilities("").adapters
        assert {info.family for info in infos} == {"sd15", "starter", "sdxl"}

    def test_scumble_models_lists_them(self, copy):
        index = self.index(copy)
        assert "ip-adapter-sdxl" in text_of(index, (copy,))
        listed = {one["id"]: one["encoder"] for one in as_table(index)["adapters"]}
        assert listed["ip-adapter-sdxl"].endswith("image_encoder")
        shutil.rmtree(copy / "models" / "image_encoder")
        assert "missing" in text_of(self.index(copy), (copy,))

    def test_without_an_encoder_it_is_said_which_is_missing(self, copy):
        shutil.rmtree(copy / "models" / "image_encoder")
        executor = EngineExecutor((copy,), "cpu")
        error = refusal(executor, picture_of("sd15", references=(Reference("moss"),)))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.references[0].model")
        assert "image encoder" in error.info.message
        assert error.info.remedy is not None

    def test_an_encoder_in_a_file_of_its_own(self, copy, executor):
        folder = copy / "models" / "image_encoder"
        write_encoder_file(folder, copy / "models" / "clip_vision_h.safetensors")
        shutil.rmtree(folder)
        job = picture_of("sdxl", references=BOTH)
        (copy / "sdxl").symlink_to((executor_folder(executor) / "sdxl").resolve(), target_is_directory=True)
        index = self.index(copy)
        assert [one.id for one in index.encoders] == ["clip-vision-h"]
        assert (image(EngineExecutor((copy,), "cpu"), job) == image(executor, job)).all()

    def test_an_encoder_that_is_not_whole(self, copy):
        path = copy / "models" / "image_encoder" / "model.safetensors"
        state = load_file(path)
        del state["vision_model.encoder.layers.1.mlp.fc1.weight"]
        save_file(state, copy / "models" / "part.safetensors")
        shutil.rmtree(path.parent)
        error = refusal(EngineExecutor((copy,), "cpu"), picture_of("sd15", references=(Reference("moss"),)))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "job.references[0].model")
        assert error.info.remedy.action is RemedyAction.REMOVE_REFERENCE

    def test_an_adapter_that_is_gone(self, copy):
        executor = EngineExecutor((copy,), "cpu")
        (copy / "models" / "ip-adapter_sd15.safetensors").unlink()
        error = refusal(executor, picture_of("sd15", references=(Reference("moss"),)))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "job.references[0].model")

    def test_an_encoder_of_another_width_does_not_count(self, copy):
        config = copy / "models" / "image_encoder" / "config.json"
        config.write_text(config.read_text().replace('"projection_dim": 24', '"projection_dim": 25'))
        index = self.index(copy)
        assert [one.encoder for one in index.adapters] == [None] * 3

    def test_a_pickle_is_refused_with_the_reason(self, copy):
        (copy / "models" / "ip-adapter_sd15.safetensors").rename(copy / "models" / "ip-adapter_other.bin")
        (refused,) = [one for one in self.index(copy).unusable if one.id == "ip-adapter-other"]
        assert "run code" in refused.reason

    def test_one_that_reads_faces_by_another_network(self, copy):
        path = copy / "models" / "ip-adapter_sd15.safetensors"
        state = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("image_proj.")}
        state |= {"image_proj.proj.0.weight": torch.zeros(8, 8), "image_proj.norm.weight": torch.zeros(8)}
        save_file(state, path)
        (refused,) = [one for one in self.index(copy).unusable if one.id == "ip-adapter-sd15"]
        assert "FaceID" in refused.reason

    @pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{", b"not safetensors"])
    def test_a_damaged_file(self, copy, content):
        (copy / "models" / "ip-adapter_sd15.safetensors").write_bytes(content)
        assert "ip-adapter-sd15" in [one.id for one in self.index(copy).unusable]

    @pytest.mark.parametrize(
        ("width", "family"), [(768, "sd15"), (2048, "sdxl"), (1024, "sd2"), (1280, "sdxl-refiner")]
    )
    def test_the_family_is_told_by_the_width_of_the_text(self, copy, width, family):
        write_header(copy / "models" / "ip-adapter_real.safetensors", width)
        index = self.index(copy)
        found = [one.family for one in index.adapters if one.id == "ip-adapter-real"]
        if family in ("sd15", "sdxl"):
            assert found == [family]
        else:
            assert "ip-adapter-real" in [one.id for one in index.unusable]
