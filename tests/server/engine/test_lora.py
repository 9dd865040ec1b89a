"""LoRAs give the pixels they give in diffusers, whatever their format, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from safetensors.torch import save_file
from scumble_server.engine.families import family_of
from scumble_server.engine.family import LoadedModel
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.lora import Changes, Wanted
from scumble_server.engine.lora.names import targets_of
from scumble_server.engine.lora.reading import Layer
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.entries import LoraEntry, ModelEntry
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob

from .conftest import CPU, Hooks
from .test_families import assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:No LoRA keys:UserWarning"),
]

PIPELINES = {
    "sd15": StableDiffusionPipeline,
    "sdxl": StableDiffusionXLPipeline,
    "sd3": StableDiffusion3Pipeline,
    "flux": FluxPipeline,
}
CROSS, FF = "attentions.0.transformer_blocks.0.attn2.to_k", "attentions.0.transformer_blocks.0.ff.net.0.proj"
MLP = "transformer_blocks.0.ff.net.2"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
LAYERS = {
    "sd15": {
        "unet": [f"down_blocks.0.{CROSS}", f"up_blocks.1.{FF}", "mid_block.attentions.0.proj_in"],
        "text_encoder": [TEXT],
    },
    "sdxl": {
        "unet": [f"down_blocks.1.{CROSS}", f"up_blocks.0.{FF}", "mid_block.attentions.0.proj_out"],
        "text_encoder": [TEXT],
        "text_encoder_2": [TEXT.replace("q_proj", "out_proj")],
    },
    "sd3": {"transformer": ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.add_v_proj", MLP]},
    "flux": {"transformer": ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_mlp", MLP]},
}
RANK, ALPHA = 2, 4.0

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def models(models_folder, family_folders) -> dict[str, LoadedModel]:
    """Of their own: what these tests do to them is nobody else's business."""
    folders = {"sd15": models_folder / "tiny", **family_folders}
    return {
        family: family_of(family).load_model(ModelEntry(family, family, family, folder), CPU)
        for family, folder in folders.items()
    }


def pairs(model: LoadedModel, family: str, seed: int) -> dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]:
    """(component, layer) -> down and up of random LoRAs."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for component, layers in LAYERS[family].items():
        targets = targets_of({component: model.components[component]})
        for layer in layers:
            (weight,) = targets[f"{component}.{layer}"]
            rows, columns = weight.shape[:2]
            tail = weight.shape[2:]
            down = torch.randn(RANK, columns, *tail, generator=generator)
            up = 0.5 * torch.randn(rows, RANK, *[1] * len(tail), generator=generator)
            found[component, layer] = down, up
    return found


def as_peft(found) -> State:
    state: State = {}
    for (component, layer), (down, up) in found.items():
        state[f"{component}.{layer}.lora_A.weight"] = down
        state[f"{component}.{layer}.lora_B.weight"] = up
    return state


def as_kohya(found) -> State:
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
    if any(component == "text_encoder_2" for component, _ in found):
        prefixes["text_encoder"] = "lora_te1_"
    state: State = {}
    for (component, layer), (down, up) in found.items():
        name = prefixes[component] + layer.replace(".", "_")
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(ALPHA)}
    return state


def as_peft_scaled(found) -> State:
    """What kohya's alpha makes of it."""
    return as_peft({place: (down, up * ALPHA / RANK) for place, (down, up) in found.items()})


def lengths(model: LoadedModel, place: tuple[str, str], seed: int) -> torch.Tensor:
    """Of the rows of a DoRA: not far from what they are."""
    (weight,) = targets_of({place[0]: model.components[place[0]]})[f"{place[0]}.{place[1]}"]
    spread = torch.rand(len(weight), generator=torch.Generator().manual_seed(seed))
    return weight.flatten(1).norm(dim=1) * (0.5 + spread)


def as_dora(model: LoadedModel, found, kohya: bool) -> State:
    """A row's lengths as peft has them in layers for pictures: 1 x rows x 1 x 1; and as LyCORIS does: rows x 1 ..."""
    state = as_kohya(found) if kohya else as_peft(found)
    for seed, (place, (down, _)) in enumerate(found.items()):
        of_rows = lengths(model, place, seed)
        ones = [1] * (down.ndim - 2)
        if kohya:
            state[f"lora_unet_{place[1].replace('.', '_')}.dora_scale"] = of_rows.reshape(-1, 1, *ones)
        else:
            state[f"{place[0]}.{place[1]}.lora_magnitude_vector"] = of_rows.reshape(1, -1, *ones) if ones else of_rows
    return state


def as_original_sdxl(found) -> State:
    """As kohya's scripts write SDXL's, with the block numbers of the original code."""
    blocks = {
        "down_blocks_1_attentions_0": "input_blocks_3_1",
        "up_blocks_0_attentions_0": "output_blocks_0_1",
        "mid_block_attentions_0": "middle_block_1",
    }
    state = {}
    for name, tensor in as_kohya(found).items():
        for ours, theirs in blocks.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    return state


def whole_layers(found) -> dict:
    """Those that are a layer in the original code, too."""
    return {place: pair for place, pair in found.items() if place[1] == MLP}


def as_original_sd3(found) -> State:
    return _as_original(found, "joint_blocks_0_x_block_mlp_fc2")


def as_original_flux(found) -> State:
    return _as_original(found, "double_blocks_0_img_mlp_2")


def _as_original(found, name: str) -> State:
    ((down, up),) = whole_layers(found).values()
    name = f"lora_unet_{name}"
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(ALPHA)}


def as_peft_of_whole(found) -> State:
    return as_peft_scaled(whole_layers(found))


def reference(model: LoadedModel, family: str, loras: Sequence[tuple[State, float]]) -> np.ndarray:
    """What diffusers makes of copies in its own formats."""
    fresh = family_of(family).load_model(model.entry, CPU)
    encoder, parts = fresh.prompt_encoder, {"vae": fresh.vae}
    parts |= fresh.components
    if family in ("sd15", "sdxl"):
        parts["scheduler"] = make_scheduler("euler", fresh.scheduler_config)
    else:
        parts["scheduler"] = FlowMatchEulerDiscreteScheduler.from_pretrained(model.entry.path / "scheduler")
    clips = encoder.encoders if family == "sdxl" else (encoder,) if family == "sd15" else encoder.clips
    for number, clip in zip(("", "_2"), clips, strict=False):
        parts[f"tokenizer{number}"] = clip._tokenizer
    if family in ("sd3", "flux"):
        parts["tokenizer_3" if family == "sd3" else "tokenizer_2"] = encoder.t5._tokenizer
    if family == "sd15":
        parts |= {"safety_checker": None, "feature_extractor": None}
    pipe = PIPELINES[family](**parts)
    pipe.set_progress_bar_config(disable=True)
    for index, (state, _) in enumerate(loras):
        pipe.load_lora_weights(dict(state), adapter_name=f"lora{index}")
    if loras:
        pipe.set_adapters([f"lora{index}" for index in range(len(loras))], [weight for _, weight in loras])
    arguments = {} if family == "flux" else {"negative_prompt": "blurry"}
    images = pipe(
        prompt="a mossy wall",
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
        **arguments,
    ).images
    return (images[0] * 255).round().astype(np.uint8)


def entry(folder: Path, name: str, state: State) -> LoraEntry:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors")
    return LoraEntry(name, name, "any", folder / f"{name}.safetensors")


def ours(model: LoadedModel) -> np.ndarray:
    job = GenerateJob(
        "a mossy wall",
        "blurry",
        width=64,
        height=64,
        sampler="euler",
        num_inference_steps=3,
        guidance_scale=4.0,
        seed=7,
    )
    return generate(job, model, [], {}, Hooks(looking=False), Timings())[0]


def weights(model: LoadedModel) -> State:
    return {
        f"{component}.{name}": tensor.clone()
        for component, module in model.components.items()
        for name, tensor in module.state_dict().items()
    }


CASES: list[tuple[str, str, Callable[..., State], Callable[..., State]]] = [
    ("sd15", "names of peft", as_peft, as_peft),
    ("sd15", "names of kohya", as_kohya, as_peft_scaled),
    ("sdxl", "names of peft", as_peft, as_peft),
    ("sdxl", "names of kohya", as_kohya, as_peft_scaled),
    ("sdxl", "original names", as_original_sdxl, as_peft_scaled),
    ("sd3", "names of peft", as_peft, as_peft),
    ("sd3", "original names", as_original_sd3, as_peft_of_whole),
    ("flux", "names of peft", as_peft, as_peft),
    ("flux", "original names", as_original_flux, as_peft_of_whole),
]


@pytest.mark.supports("LoRA, {format}", equal=True)
@pytest.mark.supports("LoRA, weights taken back to the bit")
@pytest.mark.parametrize(("family", "format", "write", "known"), CASES, ids=[f"{f}-{n}" for f, n, *_ in CASES])
def test_pixels_are_those_of_diffusers(models, tmp_path, family, format, write, known):
    model, changes = models[family], Changes()
    plain = ours(model)
    found = [pairs(model, family, seed) for seed in (1, 2)]
    wanted = [
        Wanted(entry(tmp_path, f"lora{index}", write(one)), weight, index)
        for index, (one, weight) in enumerate(zip(found, (0.8, -0.5), strict=True))
    ]
    before = weights(model)
    assert changes.make(model, wanted)
    changed = ours(model)
    assert (changed != plain).mean() > 0.2, "it would prove nothing"
    assert_same(changed, reference(model, family, [(known(found[0]), 0.8), (known(found[1]), -0.5)]))
    assert changes.make(model, [])
    after = weights(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert (ours(model) == plain).all(), "nothing is left behind, to the bit"


@pytest.mark.supports("LoRA, weight-decomposed (DoRA)", equal=True)
@pytest.mark.parametrize(
    ("family", "kohya"), [("sd15", True), ("sd15", False), ("sdxl", True), ("sd3", False), ("flux", False)]
)
def test_a_dora_beside_a_lora(models, tmp_path, family, kohya):
    """It goes by the weights as they were, so what each adds is the same in any order. In diffusers a DoRA that comes
    second scales what the first added, too; there it comes first."""
    model, changes = models[family], Changes()
    plain, before = ours(model), weights(model)
    other = pairs(model, family, 1)
    found = {place: pair for place, pair in pairs(model, family, 2).items() if "text_encoder" not in place[0]}
    known = (
        as_peft(other),
        as_dora(model, {p: (d, u * (ALPHA / RANK if kohya else 1)) for p, (d, u) in found.items()}, False),
    )
    wanted = [
        Wanted(entry(tmp_path, "lora", as_peft(other)), 0.5, 0),
        Wanted(entry(tmp_path, "dora", as_dora(model, found, kohya)), 1.0, 1),
    ]
    assert changes.make(model, wanted)
    changed = ours(model)
    assert (changed != plain).mean() > 0.2, "it would prove nothing"
    assert_same(changed, reference(model, family, [(known[1], 1.0), (known[0], 0.5)]))
    assert changes.make(model, [])
    after = weights(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_same_set_is_kept(models, tmp_path):
    model, changes = models["sd15"], Changes()
    wanted = [Wanted(entry(tmp_path, "one", as_kohya(pairs(model, "sd15", 1))), 1.0, 0)]
    assert changes.make(model, wanted)
    embedding = model.prompt_encoder.encode("a wall")
    assert not changes.make(model, list(wanted))
    assert model.prompt_encoder.encode("a wall") is embedding
    assert changes.make(model, [Wanted(wanted[0].entry, 0.5, 0)])
    assert not torch.equal(model.prompt_encoder.encode("a wall"), embedding)
    assert changes.make(model, [])


def test_weight_zero_is_none_at_all(models, tmp_path):
    model, changes = models["sd15"], Changes()
    wanted = [Wanted(entry(tmp_path, "one", as_kohya(pairs(model, "sd15", 1))), 0.0, 0)]
    assert not changes.make(model, wanted)


def test_a_file_that_was_replaced_is_read_again(models, tmp_path):
    model, changes = models["sd15"], Changes()
    first = Wanted(entry(tmp_path, "one", as_kohya(pairs(model, "sd15", 1))), 1.0, 0)
    assert changes.make(model, [first])
    longer = as_kohya(pairs(model, "sd15", 2)) | as_peft(pairs(model, "sd15", 3))
    assert changes.make(model, [Wanted(entry(tmp_path, "one", longer), 1.0, 0)])
    assert changes.make(model, [])


class TestRefused:
    def refusal(self, models, tmp_path, state: State, family: str = "sd15") -> ScumbleError:
        model, changes = models[family], Changes()
        before = weights(model)
        good = Wanted(entry(tmp_path, "good", as_peft(pairs(model, family, 1))), 1.0, 0)
        with pytest.raises(ScumbleError) as caught:
            changes.make(model, [good, Wanted(entry(tmp_path, "Ink", state), 1.0, 1)])
        after = weights(model)
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert caught.value.info.field == "job.loras[1].model"
        assert caught.value.info.remedy.action is RemedyAction.REMOVE_LORA
        assert "Ink" in caught.value.info.message
        return caught.value

    def test_layers_that_the_model_does_not_have(self, models, tmp_path):
        state = as_peft(pairs(models["sdxl"], "sdxl", 1))
        error = self.refusal(models, tmp_path, state)
        assert error.code is ErrorCode.MODEL_MISMATCH

    def test_layers_of_another_size(self, models, tmp_path):
        state = as_peft(pairs(models["sd15"], "sd15", 1))
        wide = {name: torch.cat([tensor, tensor], 1) if "lora_A" in name else tensor for name, tensor in state.items()}
        error = self.refusal(models, tmp_path, wide)
        assert error.code is ErrorCode.MODEL_MISMATCH
        assert "another size" in error.info.message

    @pytest.mark.parametrize("suffix", ["diff", "diff_b", "what.weight"])
    def test_tensors_that_nobody_knows_are_named(self, models, tmp_path, suffix):
        error = self.refusal(models, tmp_path, {f"lora_unet_conv_in.{suffix}": torch.zeros(3)})
        assert error.code is ErrorCode.MODEL_INVALID
        assert f"lora_unet_conv_in.{suffix}" in error.info.message

    def test_half_a_pair(self, models, tmp_path):
        state = as_peft(pairs(models["sd15"], "sd15", 1))
        self.refusal(models, tmp_path, {name: tensor for name, tensor in state.items() if "lora_A" in name})

    def test_lengths_of_a_dora_for_another_model(self, models, tmp_path):
        state = as_kohya(pairs(models["sd15"], "sd15", 1))
        layer = next(name for name in state if name.endswith(".alpha")).removesuffix(".alpha")
        error = self.refusal(models, tmp_path, state | {f"{layer}.dora_scale": torch.ones(3, 1)})
        assert "another size" in error.info.message


class TestProducts:
    """By their definitions, on a weight of 6 x 4 or, for pictures, 6 x 4 x 3 x 3."""

    def added(self, parts: State, *shape: int) -> torch.Tensor:
        ((_, change),) = Layer([torch.zeros(shape)], parts).added()
        return change

    def draw(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))

    def test_low_rank_of_pictures(self):
        down, up = self.draw(2, 4, 3, 3), self.draw(6, 2, 1, 1)
        expected = torch.einsum("or,rikl->oikl", up[..., 0, 0], down) * 3.0 / 2
        found = self.added({"down": down, "up": up, "alpha": torch.tensor(3.0)}, 6, 4, 3, 3)
        torch.testing.assert_close(found, expected)

    def test_low_rank_with_a_core(self):
        down, core, up = self.draw(2, 4, 1, 1), self.draw(2, 2, 3, 3), self.draw(6, 2, 1, 1)
        expected = torch.einsum("or,rskl,si->oikl", up[..., 0, 0], core, down[..., 0, 0])
        torch.testing.assert_close(self.added({"down": down, "up": up, "mid": core}, 6, 4, 3, 3), expected)

    def test_hadamard(self):
        a1, b1, a2, b2 = self.draw(6, 2), self.draw(2, 4), self.draw(6, 2), self.draw(2, 4)
        parts = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": torch.tensor(1.0)}
        torch.testing.assert_close(self.added(parts, 6, 4), (a1 @ b1) * (a2 @ b2) * 0.5)

    def test_kronecker(self):
        first, a, b = self.draw(2, 2), self.draw(3, 1), self.draw(1, 2)
        parts = {"lokr_w1": first, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(2.0)}
        torch.testing.assert_close(self.added(parts, 6, 4), torch.kron(first, a @ b) * 2.0)
        whole = {"lokr_w1": first, "lokr_w2": a @ b, "alpha": torch.tensor(9.0)}
        torch.testing.assert_close(self.added(whole, 6, 4), torch.kron(first, a @ b))

    @pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
    @pytest.mark.parametrize("kept", [0, 1])
    def test_directions_and_lengths(self, shape, kept):
        """A DoRA's rows, or columns, are exactly as long as it says, and point where weight and product together do."""
        weight, down, up = self.draw(*shape), self.draw(2, *shape[1:]), self.draw(6, 2, *[1] * (len(shape) - 2))
        wanted = torch.arange(1.0, shape[kept] + 1)
        place = [-1 if dimension == kept else 1 for dimension in range(len(shape))]
        parts = {"down": down, "up": up, "dora_scale": wanted.reshape(place)}
        ((_, change),) = Layer([weight], parts).added()
        ((_, plain),) = Layer([weight], {"down": down, "up": up}).added()
        found, direction = ((weight + part).transpose(0, kept).flatten(1) for part in (change, plain))
        torch.testing.assert_close(found.norm(dim=1), wanted)
        torch.testing.assert_close(torch.cosine_similarity(found, direction), torch.ones(shape[kept]))

    def test_one_for_layers_side_by_side(self):
        weights = [torch.zeros(2, 4), torch.zeros(4, 4)]
        down, up = self.draw(2, 4), self.draw(6, 2)
        first, second = (change for _, change in Layer(weights, {"down": down, "up": up}).added())
        torch.testing.assert_close(torch.cat([first, second]), up @ down)


class TestNames:
    @pytest.mark.parametrize(
        ("family", "names"),
        [
            ("sd15", ["unet.mid_block.attentions.0.proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1"]),
            (
                "sdxl",
                ["lora_unet_label_emb_0_0", "lora_unet_output_blocks_0_0_in_layers_2", "lora_te2_text_projection"],
            ),
            ("sd3", ["lora_unet_joint_blocks_0_x_block_attn_qkv", "transformer.transformer_blocks.0.ff.net.2"]),
            ("flux", ["lora_unet_double_blocks_0_txt_mlp_2", "diffusion_model.single_blocks.0.linear1"]),
            ("flux", ["double_blocks.0.processor.qkv_lora1", "single_blocks.1.linear2"]),
            ("flux", ["lora_te1_text_model_encoder_layers_0_mlp_fc1"]),
        ],
    )
    def test_known(self, models, family, names):
        targets = targets_of(models[family].components)
        assert all(name in targets for name in names)

    @pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
    def test_each_layer_has_one_and_no_name_means_two(self, models, family):
        components = models[family].components
        targets = targets_of(components)
        named = {id(weight) for weights in targets.values() for weight in weights}
        for component, module in components.items():
            for name, part in module.named_modules():
                if isinstance(part, torch.nn.Linear | torch.nn.Conv2d):
                    assert id(part.weight) in named, f"{component}.{name}"
