"""Sizes of models: published ones are those of the configurations, others are told by the files."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from scumble_server.engine.families.loading import CONFIGS
from scumble_server.memory.plan import PER_PIXEL
from scumble_server.memory.sizes import CONTROLNETS, PUBLISHED, size_of, sizes_of
from scumble_server.models.entries import ControlNetEntry, ModelEntry
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

NETWORKS: dict[str, Any] = {
    "sd15": (UNet2DConditionModel, "sd15/unet", {}),
    "sdxl": (UNet2DConditionModel, "sdxl/unet", {}),
    "sd3": (SD3Transformer2DModel, "sd3/transformer", {}),
    "sd35-large": (
        SD3Transformer2DModel,
        "sd3/transformer",
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
    ),
    "flux": (FluxTransformer2DModel, "flux/transformer", {}),
}
TEXTS = {
    "sd15": [(CLIPTextModel, CLIPTextConfig, "sd15/text_encoder")],
    "sdxl": [
        (CLIPTextModel, CLIPTextConfig, "sdxl/text_encoder"),
        (CLIPTextModelWithProjection, CLIPTextConfig, "sdxl/text_encoder_2"),
    ],
    "sd3": [
        (CLIPTextModelWithProjection, CLIPTextConfig, "sd3/text_encoder"),
        (CLIPTextModelWithProjection, CLIPTextConfig, "sd3/text_encoder_2"),
        (T5EncoderModel, T5Config, "sd3/text_encoder_3"),
    ],
    "flux": [
        (CLIPTextModel, CLIPTextConfig, "flux/text_encoder"),
        (T5EncoderModel, T5Config, "flux/text_encoder_2"),
    ],
}


def config(part: str) -> dict[str, Any]:
    known = json.loads((CONFIGS / part / "config.json").read_text(encoding="utf-8"))
    return {name: value for name, value in known.items() if not name.startswith("_")}


def counted(module: torch.nn.Module) -> list[int]:
    return [parameter.numel() for parameter in module.parameters()]


def empty(kind: Any, part: str, **changes: Any) -> Any:
    with torch.device("meta"):
        return kind(**{**config(part), **changes})


class Alive(TorchDispatchMode):
    """The most bytes that were alive at once, but for what was there before."""

    def __init__(self, there: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in there}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(made)[0]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def activations(make: Any, dtype: torch.dtype, run: Any) -> int:
    """Of a module on tensors without contents, bytes. run: module -> a function without arguments."""
    before = torch.get_default_dtype()
    with FakeTensorMode(), torch.inference_mode():
        torch.set_default_dtype(dtype)
        try:
            module = make().eval()
            call, given = run(module)
        finally:
            torch.set_default_dtype(before)
        mode = Alive([*module.parameters(), *module.buffers(), *given])
        with mode:
            kept = call()
        del kept
        return mode.most


@pytest.mark.parametrize("family", sorted(TEXTS))
def test_published_sizes_are_those_of_the_configurations_that_ship(family):
    kind, part, changes = NETWORKS[family]
    network = counted(empty(kind, part, **changes))
    texts = []
    for module, settings, where in TEXTS[family]:
        with torch.device("meta"):
            texts.append(counted(module(settings.from_pretrained(CONFIGS / where))))
    vae = counted(empty(AutoencoderKL, f"{family}/vae"))
    published = PUBLISHED[family]
    assert (sum(network), sum(map(sum, texts)), sum(vae)) == (published.network, published.text, published.vae)
    assert max(*network, *(count for text in texts for count in text)) == published.largest


def test_the_large_one_of_sd3():
    kind, part, changes = NETWORKS["sd35-large"]
    assert sum(counted(empty(kind, part, **changes))) == PUBLISHED["sd35-large"].network


@pytest.mark.parametrize("family", sorted(CONTROLNETS))
def test_usual_controlnets(family):
    assert sum(counted(empty(ControlNetModel, f"{family}/controlnet"))) == CONTROLNETS[family]


class TestActivations:
    """Held to what the real networks have alive, to 1 %."""

    def test_unet(self):
        side, images = 64, 2

        def run(unet):
            shown, text = torch.empty(images, 4, side, side), torch.empty(images, 77, 768)
            return lambda: unet(shown, torch.tensor(1.0), text, return_dict=False), [shown, text]

        found = activations(lambda: UNet2DConditionModel(**config("sd15/unet")), torch.float16, run)
        assert found == pytest.approx(PUBLISHED["sd15"].per_latent * images * side**2, rel=0.01)

    @pytest.mark.parametrize(("side", "images"), [(64, 1), (96, 1)])
    def test_transformer(self, side, images):
        def run(transformer):
            given = {
                "hidden_states": torch.empty(images, 16, side, side),
                "encoder_hidden_states": torch.empty(images, 333, 4096),
                "pooled_projections": torch.empty(images, 2048),
                "timestep": torch.empty(images),
            }
            return lambda: transformer(**given, return_dict=False), list(given.values())

        found = activations(
            lambda: SD3Transformer2DModel(**{**config("sd3/transformer"), "num_layers": 2}), torch.bfloat16, run
        )
        sizes = PUBLISHED["sd3"]
        assert found == pytest.approx(images * (sizes.per_latent * side**2 + sizes.per_image), rel=0.01)

    def test_autoencoder(self):
        def run(vae):
            latents = torch.empty(1, 4, 64, 64)
            return lambda: vae.decode(latents, return_dict=False), [latents]

        found = activations(lambda: AutoencoderKL(**config("sd15/vae")), torch.float32, run)
        assert found == pytest.approx(PER_PIXEL * 512 * 512, rel=0.01)


# --- on disk ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "tiny"
    shapes = {"unet": (3, 5), "vae": (7,), "text_encoder": (2, 2), "text_encoder_2": (9,), "controlnet_depth": (4, 4)}
    for number, (part, shape) in enumerate(shapes.items()):
        (path / part).mkdir(parents=True)
        save_file({f"weight{number}": torch.zeros(shape)}, path / part / "model.safetensors")
    return path


def numbers(folder: Path) -> int:
    return sum(tensor.numel() for path in folder.glob("*.safetensors") for tensor in load_file(path).values())


def test_a_folder_is_counted_by_its_parts(folder):
    found = sizes_of(ModelEntry("tiny", "tiny", "starter", folder))
    assert found.network == numbers(folder / "unet")
    assert found.vae == numbers(folder / "vae")
    assert found.text == numbers(folder / "text_encoder") + numbers(folder / "text_encoder_2")
    assert found.largest == 15
    net = size_of(ControlNetEntry("depth", "depth", "starter", (), folder / "controlnet_depth"))
    assert net == numbers(folder / "controlnet_depth")


def test_the_half_precision_variant_beside_the_full_one_is_not_counted_twice(folder, tmp_path):
    copy = tmp_path / "both"
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        (copy / part).mkdir(parents=True)
        for path in (folder / part).glob("*.safetensors"):
            (copy / part / path.name).write_bytes(path.read_bytes())
            (copy / part / path.name.replace(".safetensors", ".fp16.safetensors")).write_bytes(path.read_bytes())
    entry = ModelEntry("tiny", "tiny", "starter", folder)
    assert sizes_of(replace(entry, path=copy)) == sizes_of(entry)


def test_a_single_file_is_counted_by_its_names_and_what_it_lacks_is_lent(folder, tmp_path):
    path = tmp_path / "one.safetensors"
    tensors = {
        "model.diffusion_model.out.weight": torch.zeros(10, 10),
        "first_stage_model.decoder.weight": torch.zeros(7),
        "model_ema.out": torch.zeros(1000),
    }
    save_file(tensors, path)
    alone = sizes_of(ModelEntry("one", "one", "sd15", path))
    assert (alone.network, alone.vae, alone.text) == (100, 7, 0)
    lent = sizes_of(ModelEntry("one", "one", "sd15", path, lender=folder))
    assert (lent.network, lent.vae, lent.text) == (100, 7, 4 + 9)
