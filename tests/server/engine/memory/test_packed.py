"""Transformers of FLUX and Stable Diffusion 3 from .gguf files, written here by the package gguf."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from scumble_server.engine import families
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.families.flux import Flux
from scumble_server.engine.families.sd3 import StableDiffusion3
from scumble_server.engine.lora import Changes, Wanted
from scumble_server.memory.machine import GIB, Machine
from scumble_server.memory.sizes import sizes_of
from scumble_server.models.gguf_header import read_gguf_header
from scumble_server.models.safetensors_header import BadFileError
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, GenerateJob, Lora

from .. import mmdit_layout
from ..conftest import Hooks, picture
from ..test_single_files_families import configs_for

gguf = pytest.importorskip("gguf")

APART = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB)
Q8, Q4 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0
BLOCK = 32
KINDS = {
    "flux": (FluxTransformer2DModel, lambda state: mmdit_layout.flux(state)),
    "sd3": (SD3Transformer2DModel, lambda state: mmdit_layout.sd3(state, "")),
}
RANK = 2
LAYERS = ("transformer_blocks.0.ff.net.0.proj", "transformer_blocks.0.attn.to_q")


def write(path: Path, state: dict[str, torch.Tensor], family: str, kind: Any = Q8) -> None:
    """As city96's tools do: matrices quantized where their rows are whole blocks, the rest as it is."""
    writer = gguf.GGUFWriter(path, family)
    for name, tensor in state.items():
        values = np.ascontiguousarray(tensor.float().numpy())
        if values.ndim == 2 and values.shape[1] % BLOCK == 0 and "embed" not in name:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def lora(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A random one for two layers of a transformer."""
    generator = torch.Generator().manual_seed(5)
    made: dict[str, torch.Tensor] = {}
    for layer in LAYERS:
        rows, columns = state[f"{layer}.weight"].shape
        made[f"transformer.{layer}.lora_A.weight"] = torch.randn(RANK, columns, generator=generator)
        made[f"transformer.{layer}.lora_B.weight"] = torch.randn(rows, RANK, generator=generator)
    return made


@pytest.fixture(scope="module")
def folder(family_folders, tmp_path_factory) -> Path:
    """Of each family the folder, which lends the rest, the transformer in a file of its own, and LoRAs for it."""
    place = tmp_path_factory.mktemp("packed")
    for family, (kind, renamed) in KINDS.items():
        shutil.copytree(family_folders[family], place / family)
        shutil.copytree(family_folders[family] / "controlnet_depth", place / f"{family} depth")
        state = kind.from_pretrained(family_folders[family] / "transformer").state_dict()
        write(place / f"small {family}.gguf", renamed(state), family)
        ink = lora(state)
        told = {"modelspec.architecture": family}
        save_file(ink, place / f"ink {family}.safetensors", told)
        lengths = {f"transformer.{LAYERS[0]}.lora_magnitude_vector": torch.ones(len(state[f"{LAYERS[0]}.weight"]))}
        save_file(ink | lengths, place / f"lengths {family}.safetensors", told)
    return place


@pytest.fixture(scope="module", autouse=True)
def tiny_configurations(family_folders, tmp_path_factory) -> Iterator[None]:
    """Files carry none; those that ship are the released models'."""
    with pytest.MonkeyPatch.context() as patch:
        for family, seam in {"flux": Flux, "sd3": StableDiffusion3}.items():
            configs = configs_for(tmp_path_factory, family, family_folders[family])
            patch.setitem(families._loaded, family, seam(configs))
        yield


@pytest.fixture(scope="module")
def executor(folder) -> EngineExecutor:
    return EngineExecutor((folder,), "cpu", machine=APART)


def job(model: str, **changes: Any) -> GenerateJob:
    settings = {"width": 64, "height": 64, "num_inference_steps": 2, "sampler": "euler"}
    return GenerateJob("a brick wall", model=model, **{**settings, **changes})


def image(executor: EngineExecutor, wanted: GenerateJob) -> np.ndarray:
    return executor.run(wanted, {"image": picture(1)}, Hooks()).tensors["image/0"].astype(float)


@pytest.mark.supports("weights quantized in the file (GGUF)", equal=False)
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_they_paint_nearly_what_the_folder_paints(executor, family):
    found = {entry.id: entry for entry in scan((executor._model_dirs[0],), builtin=False).models}
    assert found[f"small-{family}"].family == family
    for controls in ((), (Control("depth", image="image"),)):
        plain, packed = (image(executor, job(model, controls=controls)) for model in (family, f"small-{family}"))
        assert 0.0 < np.abs(plain - packed).mean() < 2.0


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_weights_stay_packed_and_are_those_of_the_file(executor, folder, family):
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    model = executor._resident.model(executor._index.model(f"small-{family}"), Hooks())
    weight = model.network.module.transformer_blocks[0].ff.net[0].proj.weight
    assert weight.dtype == torch.uint8
    kind = KINDS[family][0]
    plain = kind.from_pretrained(folder / family / "transformer").transformer_blocks[0].ff.net[0].proj.weight
    step = plain.abs().max().item() / 127.0
    assert (dequantize_gguf_tensor(weight) - plain).abs().max().item() <= 0.6 * step
    assert model.network.dtype == executor._device.wide_dtype


@pytest.mark.parametrize("choice", ["low", "lowest"])
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_they_come_and_go_as_others_do(executor, family, choice):
    plain = image(executor, job(f"small-{family}"))
    assert np.array_equal(image(executor, job(f"small-{family}", memory=choice)), plain)


def test_they_count_as_what_they_take(executor, folder):
    sizes = sizes_of(executor._index.model("small-flux"))
    assert sizes.packed == (folder / "small flux.gguf").stat().st_size
    whole = sizes_of(executor._index.model("flux"))
    assert (sizes.network, sizes.text, sizes.vae) == (whole.network, whole.text, whole.vae)


@pytest.mark.supports("LoRA, on weights quantized in the file (GGUF)", equal=False)
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_loras_do_to_them_what_they_do_to_the_folder(executor, family):
    one = (Lora(f"ink-{family}", 0.7),)
    before = image(executor, job(f"small-{family}"))
    packed, plain = (image(executor, job(model, loras=one)) for model in (f"small-{family}", family))
    assert np.abs(packed - plain).mean() < 0.2 * np.abs(packed - before).mean()
    assert np.array_equal(image(executor, job(f"small-{family}")), before), "nothing is left behind, to the bit"


@pytest.mark.parametrize("choice", ["low", "lowest"])
def test_loras_on_weights_that_come_and_go(executor, choice):
    one = (Lora("ink-flux", 0.7),)
    plain = image(executor, job("small-flux", loras=one))
    assert np.array_equal(image(executor, job("small-flux", loras=one, memory=choice)), plain)


def test_what_is_added_is_the_product(executor):
    """To what the layer gives by itself, but for its number format's rounding."""
    model = executor._resident.model(executor._index.model("small-flux"), Hooks())
    layer = model.network.module.get_submodule(LAYERS[1])
    shown = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(1)).to(layer.compute_dtype)
    entry = executor._index.lora("ink-flux", model.entry, 0)
    state = load_file(entry.path)
    down, up = (state[f"transformer.{LAYERS[1]}.lora_{side}.weight"] for side in "AB")
    changes, plain = Changes(), layer(shown)
    changes.make(model, [Wanted(entry, -0.5, 0)])
    torch.testing.assert_close(
        (layer(shown) - plain).float(), -0.5 * shown.float() @ down.T @ up.T, rtol=0.03, atol=0.1
    )
    changes.make(model, [])
    assert torch.equal(layer(shown), plain)


def test_other_kinds_of_loras_are_refused_by_name(executor):
    with pytest.raises(ScumbleError) as caught:
        image(executor, job("small-flux", loras=(Lora("lengths-flux", 1.0),)))
    assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_MISMATCH, "job.loras[0].model")
    assert "only plain LoRAs" in caught.value.info.message


class TestBadFiles:
    @pytest.fixture
    def whole(self, folder) -> bytes:
        return (folder / "small flux.gguf").read_bytes()

    @pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.01, 0.5, 0.999])
    def test_cut_off(self, whole, tmp_path, share):
        path = tmp_path / "cut.gguf"
        path.write_bytes(whole[: int(len(whole) * share)])
        (entry,) = scan((tmp_path,), builtin=False).unusable
        assert any(word in entry.reason for word in ("cut off", "empty", "not a .gguf"))

    def test_mislabelled(self, tmp_path):
        (tmp_path / "wrong.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
        (entry,) = scan((tmp_path,), builtin=False).unusable
        assert "not a .gguf file" in entry.reason

    def test_a_header_that_promises_too_much_is_not_believed(self, tmp_path):
        path = tmp_path / "huge.gguf"
        path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (2**60).to_bytes(8, "little") * 2 + bytes(64))
        with pytest.raises(BadFileError, match="makes no sense"):
            read_gguf_header(path)

    def test_another_architecture(self, tmp_path):
        write(tmp_path / "llama.gguf", {"blk.0.attn_q.weight": torch.zeros(32, 32)}, "llama")
        (entry,) = scan((tmp_path,), builtin=False).unusable
        assert "unfamiliar" in entry.reason

    def test_without_a_folder_that_lends_the_rest(self, folder, tmp_path):
        shutil.copy(folder / "small sd3.gguf", tmp_path)
        (entry,) = scan((tmp_path,), builtin=False).unusable
        assert "lacks parts" in entry.reason

    def test_sides_that_do_not_fit_are_told(self, folder, executor, tmp_path):
        state = KINDS["flux"][1](FluxTransformer2DModel.from_pretrained(folder / "flux" / "transformer").state_dict())
        state["double_blocks.0.img_mlp.0.weight"] = torch.zeros(64, 32)
        write(tmp_path / "bad.gguf", state, "flux")
        shutil.copytree(folder / "flux", tmp_path / "flux")
        with pytest.raises(ScumbleError) as caught:
            image(EngineExecutor((tmp_path,), "cpu", machine=APART), job("bad"))
        assert caught.value.code is ErrorCode.MODEL_INVALID


def test_the_header_is_what_the_package_reads(folder):
    path = folder / "small flux.gguf"
    reader = gguf.GGUFReader(path)
    ours = read_gguf_header(path)
    assert set(ours) == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        assert ours[tensor.name].shape == tuple(int(side) for side in reversed(tensor.shape))
        assert ours[tensor.name].dtype == tensor.tensor_type.name


def test_four_bits_are_coarser_than_eight(folder, family_folders, tmp_path):
    shutil.copytree(family_folders["flux"], tmp_path / "flux")
    state = FluxTransformer2DModel.from_pretrained(folder / "flux" / "transformer").state_dict()
    for name, kind in (("eight", Q8), ("four", Q4)):
        write(tmp_path / f"{name}.gguf", mmdit_layout.flux(state), "flux", kind)
    executor = EngineExecutor((tmp_path,), "cpu", machine=APART)
    plain = image(executor, job("flux"))
    eight, four = (np.abs(image(executor, job(name)) - plain).mean() for name in ("eight", "four"))
    assert eight < four < 12.0
