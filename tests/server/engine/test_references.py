"""Reference pictures: our loop gives the pixels of diffusers' pipelines with IP-Adapters, and nothing of them stays.

Tolerance as in ``test_equals_diffusers``: no channel differs by more than one level of 255, one in a hundred by that.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.image_processor import IPAdapterMaskProcessor
from diffusers.loaders.unet_loader_utils import _maybe_expand_lora_scales
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image
from safetensors.torch import load_file, save_file
from scumble_server.engine.denoise import Step
from scumble_server.engine.extensions.controls import ActiveControl
from scumble_server.engine.families import family_of
from scumble_server.engine.families.loading import CONFIGS, config_of
from scumble_server.engine.family import LoadedModel
from scumble_server.engine.fast.attention import fuse_projections
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.references import attending, load_adapter, load_encoder, prepared
from scumble_server.engine.references.attending import Attending, Seen, blocks_for
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.entries import AdapterEntry
from scumble_server.models.scan import scan
from scumble_server.upscaling.windows import cover
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, Reference
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from .conftest import CPU, Hooks, picture
from .test_equals_diffusers import NEGATIVE, PROMPT, STEPS
from .tiny_adapters import write_adapter, write_encoder, write_encoder_file

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]

PICTURES = {f"p{seed}": picture(seed, 50, 40) for seed in (21, 22, 23)}
LEFT = np.zeros((64, 64), np.uint8)
LEFT[:, :32] = 255
TENSORS = {**PICTURES, "left": LEFT, "right": 255 - LEFT}
KINDS = {"sd15": (StableDiffusionPipeline, StableDiffusionControlNetPipeline)}
KINDS["sdxl"] = (StableDiffusionXLPipeline, StableDiffusionXLControlNetPipeline)


@dataclass(frozen=True)
class Bench:
    """A family's tiny model with adapters for it."""

    family: str
    model: LoadedModel
    folder: Path
    adapters: dict[str, AdapterEntry]
    encoder: Path
    depth: ActiveControl
    depth_net: Path

    def loaded(self, kind: str):
        return load_adapter(self.adapters[kind], self.model.unet, "the model", CPU)

    def seen(self, references, adapters):
        def encoder(position):
            return load_encoder(write_encoder(self.encoder), CPU)

        return prepared(references, adapters, encoder, TENSORS, (64, 64), np.asarray)

    def ours(self, references, kinds=None, controls=(), **changes):
        adapters = {kind: self.loaded(kind) for kind in dict.fromkeys(kinds or ["plain"])}
        each = [adapters[kind] for kind in kinds or ["plain"] * len(references)]
        with attending(self.model, self.seen(references, each)):
            return self.run(controls, **changes)

    def run(self, controls=(), **changes):
        settings = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "width": 64, "height": 64, "seed": 7}
        settings |= {"sampler": "euler", "num_inference_steps": STEPS, "guidance_scale": 4.0}
        job = GenerateJob(**{**settings, **changes})
        return generate(job, self.model, list(controls), {}, Hooks(looking=False), Timings())

    def theirs(self, kinds, images, scale, control=None, until=STEPS, guidance_scale=4.0, batch=1, **arguments):
        """Of diffusers' pipeline with its own loader, then undone."""
        encoders = self.model.prompt_encoder
        parts = {"vae": self.model.vae, "unet": self.model.unet}
        parts["scheduler"] = make_scheduler("euler", self.model.scheduler_config, 256)
        every = [encoders] if self.family == "sd15" else list(encoders.encoders)
        for number, one in zip(("", "_2"), every, strict=False):
            parts |= {f"text_encoder{number}": one._text_encoder, f"tokenizer{number}": one._tokenizer}
        if self.family == "sd15":
            parts |= {"safety_checker": None, "requires_safety_checker": False}
        if control is not None:
            parts["controlnet"] = ControlNetModel.from_pretrained(self.depth_net)
            arguments |= {"image": Image.fromarray(control), "controlnet_conditioning_scale": 0.8}
        module = CLIPVisionModelWithProjection.from_pretrained(self.encoder)
        processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        kind = KINDS[self.family][control is not None]
        pipe = kind(**parts, image_encoder=module, feature_extractor=processor)
        pipe.set_progress_bar_config(disable=True)
        files = [self.adapters[kind].path for kind in kinds]
        own, config = dict(self.model.unet.attn_processors), dict(self.model.unet.config)
        pipe.load_ip_adapter([str(file.parent) for file in files], [""] * len(files), [file.name for file in files])
        pipe.set_ip_adapter_scale(scale)

        def let_go(pipe, step, timestep, told):
            if until <= step + 1 < STEPS:
                pipe.set_ip_adapter_scale(0.0)
            return told

        try:
            made = pipe(
                prompt=PROMPT,
                negative_prompt=NEGATIVE,
                width=64,
                height=64,
                guidance_scale=guidance_scale,
                generator=[torch.Generator().manual_seed(7 + index) for index in range(batch)],
                num_images_per_prompt=batch,
                num_inference_steps=STEPS,
                ip_adapter_image=images,
                callback_on_step_end=let_go,
                output_type="np",
                **arguments,
            ).images
        finally:
            pipe.unload_ip_adapter()
            self.model.unet.set_attn_processor(own)
            assert dict(self.model.unet.config) == config
        return [(image * 255).round().astype(np.uint8) for image in made]


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def family(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bench(request, family, tmp_path_factory) -> Bench:
    folder = tmp_path_factory.mktemp("references")
    if family == "sd15":
        model = request.getfixturevalue("tiny")
        nets = request.getfixturevalue("models_folder") / "tiny" / "controlnet_depth"
        net = family_of("starter").load_controlnet(model.entry.controlnets["depth"], model)
    else:
        example = request.getfixturevalue("families")["sdxl"]
        model, net, nets = example.model, example.nets["depth"], example.folder / "controlnet_depth"
    write_encoder(folder / "image_encoder")
    adapters = {
        kind: write_adapter(folder / f"{kind}.safetensors", model.unet, kind) for kind in ("plain", "plus", "full")
    }
    adapters["other"] = write_adapter(folder / "other.safetensors", model.unet, "plain", seed=2)
    control = ActiveControl(net, picture(1), 0.8, 0.0, 1.0)
    return Bench(family, model, folder, adapters, folder / "image_encoder", control, nets)


def pil(name: str) -> Image.Image:
    return Image.fromarray(PICTURES[name])


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.std() > 8, "a flat picture would prove nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


ONE = (Reference("p21", weight=0.7),)


class TestEqualsDiffusers:
    @pytest.mark.supports("references, {kind} adapters", equal=True)
    @pytest.mark.parametrize("kind", ["plain", "plus", "full"])
    def test_every_kind_of_adapter(self, bench, kind):
        theirs = bench.theirs([kind], [pil("p21")], 0.7)
        ours = bench.ours(ONE, [kind])
        assert_same(ours[0], theirs[0])
        assert np.abs(ours[0].astype(int) - bench.run()[0]).mean() > 1, "the picture has a say"

    def test_without_guidance(self, bench):
        theirs = bench.theirs(["plus"], [pil("p21")], 0.7, guidance_scale=1.0)
        assert_same(bench.ours(ONE, ["plus"], guidance_scale=1.0)[0], theirs[0])

    def test_a_batch(self, bench):
        theirs = bench.theirs(["plain"], [pil("p21")], 0.7, batch=2)
        for ours, one in zip(bench.ours(ONE, batch_size=2), theirs, strict=True):
            assert_same(ours, one)

    @pytest.mark.supports("references, with a ControlNet", equal=True)
    def test_with_a_controlnet(self, bench):
        theirs = bench.theirs(["plain"], [pil("p21")], 0.7, control=bench.depth.image)
        assert_same(bench.ours(ONE, controls=[bench.depth])[0], theirs[0])

    @pytest.mark.supports("references, several pictures", equal=True)
    def test_two_pictures_of_one_adapter(self, bench):
        theirs = bench.theirs(["plain"], [[pil("p21"), pil("p22")]], 0.7)
        assert_same(bench.ours((*ONE, Reference("p22", weight=0.7)))[0], theirs[0])

    @pytest.mark.supports("references, several adapters", equal=True)
    def test_two_adapters(self, bench):
        theirs = bench.theirs(["plain", "plus"], [pil("p21"), pil("p22")], [0.7, 0.4])
        assert_same(bench.ours((*ONE, Reference("p22", weight=0.4)), ["plain", "plus"])[0], theirs[0])

    @pytest.mark.supports("references, masks", equal=True)
    def test_masks(self, bench):
        masks = IPAdapterMaskProcessor().preprocess([Image.fromarray(TENSORS[name]) for name in ("left", "right")])
        arguments = {"ip_adapter_masks": [masks.reshape(1, 2, 64, 64)]}
        theirs = bench.theirs(["plain"], [[pil("p21"), pil("p22")]], [[0.7, 0.4]], cross_attention_kwargs=arguments)
        references = (replace(ONE[0], mask="left"), Reference("p22", weight=0.4, mask="right"))
        assert_same(bench.ours(references)[0], theirs[0])

    @pytest.mark.supports("references, style alone", equal=True)
    def test_style_alone(self, bench):
        first = min(name.split(".")[1] for name in bench.model.unet.attn_processors if name.startswith("up_blocks."))
        only = [0.0, 0.7] if bench.family == "sdxl" else 0.7
        theirs = bench.theirs(["plain"], [pil("p21")], {"up": {f"block_{first}": only}})
        assert_same(bench.ours((replace(ONE[0], use="style"),))[0], theirs[0])

    @pytest.mark.supports("references, part of the steps", equal=True)
    def test_a_part_of_the_steps(self, bench):
        theirs = bench.theirs(["plain"], [pil("p21")], 0.7, until=2)
        ours = bench.ours((replace(ONE[0], end=0.5),))
        assert_same(ours[0], theirs[0])
        assert np.abs(ours[0].astype(int) - bench.ours(ONE)[0]).max() > 1, "letting go is seen"


class TestNothingStays:
    @pytest.mark.supports("references, gone with the job")
    def test_the_next_picture_is_what_it_was_to_the_bit(self, bench):
        before, names = bench.run()[0], [name for name, _ in bench.model.unet.named_modules()]
        own = dict(bench.model.unet.attn_processors)
        bench.ours((*ONE, Reference("p22", mask="left")), ["plain", "plus"])
        assert (bench.run()[0] == before).all()
        assert [name for name, _ in bench.model.unet.named_modules()] == names
        after = bench.model.unet.attn_processors
        assert all(after[name] is processor for name, processor in own.items())

    def test_nor_after_a_job_that_failed(self, bench):
        before, seen = bench.run()[0], bench.seen(ONE, [bench.loaded("plain")])
        with pytest.raises(ZeroDivisionError), attending(bench.model, seen):
            raise ZeroDivisionError
        assert bench.model.references is None
        assert (bench.run()[0] == before).all()

    def test_a_weight_of_nothing_is_nothing(self, bench):
        before = bench.run()[0]
        assert (bench.ours((Reference("p21", weight=0.0),))[0] == before).all()
        assert (bench.ours((Reference("p21", start=0.99),))[0] == before).all()


class TestOtherAttentions:
    def test_projections_that_are_fused(self, bench):
        """As on CUDA: what was fused is seen, and fused again afterwards."""
        fused = replace(bench, model=replace(bench.model, network=deepcopy(bench.model.network)))
        assert fuse_projections(fused.model.unet) > 0
        own, before = dict(fused.model.unet.attn_processors), fused.run()[0]
        assert_same(fused.ours(ONE)[0], bench.ours(ONE)[0])
        assert fused.model.unet.attn_processors == own
        assert (fused.run()[0] == before).all()


class TestFiles:
    def test_a_single_file_encoder_sees_what_the_folder_sees(self, bench, tmp_path):
        whole = load_encoder(write_encoder(bench.encoder), CPU)
        single = load_encoder(write_encoder_file(bench.encoder, tmp_path / "clip.safetensors"), CPU)
        for hidden in (False, True):
            for ours, theirs in zip(
                single.look(PICTURES["p21"], hidden), whole.look(PICTURES["p21"], hidden), strict=True
            ):
                assert torch.equal(ours, theirs)

    @pytest.mark.parametrize("kind", ["plain", "plus", "full"])
    def test_saved_with_the_unet_by_diffusers(self, bench, tmp_path, kind):
        unet = deepcopy(bench.model.unet)
        unet.set_attn_processor(AttnProcessor2_0())
        state = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in load_file(bench.adapters[kind].path).items():
            part, _, rest = name.partition(".")
            state[part][rest] = tensor
        unet._load_ip_adapter_weights([state])
        marks = ("encoder_hid_proj.", "_ip.0.")
        saved = {name: one.contiguous() for name, one in unet.state_dict().items() if any(m in name for m in marks)}
        save_file(saved, tmp_path / "saved.safetensors")
        entry = replace(bench.adapters[kind], path=tmp_path / "saved.safetensors")
        ours, same = bench.loaded(kind), load_adapter(entry, bench.model.unet, "the model", CPU)
        encoder = load_encoder(write_encoder(bench.encoder), CPU)
        for one, other in zip(*(a.tokens(PICTURES["p21"], lambda: encoder) for a in (ours, same)), strict=True):
            assert torch.equal(one, other)
        for name, attention in ours.attentions.items():
            assert torch.equal(attention.to_k_ip[0].weight, same.attentions[name].to_k_ip[0].weight)

    def test_one_for_another_model_is_refused(self, bench, tmp_path):
        state = load_file(bench.adapters["plain"].path)
        del state["ip_adapter.3.to_k_ip.weight"]
        save_file(state, tmp_path / "part.safetensors")
        with pytest.raises(ScumbleError, match="another size") as caught:
            load_adapter(
                replace(bench.adapters["plain"], path=tmp_path / "part.safetensors"), bench.model.unet, "m", CPU
            )
        assert caught.value.code is ErrorCode.MODEL_MISMATCH


class TestPictures:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (700, 3)])
    def test_of_any_shape(self, bench, shape):
        encoder, adapter = load_encoder(write_encoder(bench.encoder), CPU), bench.loaded("plus")
        nothing, seen = adapter.tokens(np.full((*shape, 3), 99, np.uint8), lambda: encoder)
        assert nothing.shape == seen.shape == (1, 4, bench.model.unet.config.cross_attention_dim)
        assert torch.isfinite(seen).all()

    def test_what_was_looked_at_is_kept(self, bench):
        encoder, adapter, asked = load_encoder(write_encoder(bench.encoder), CPU), bench.loaded("plain"), []

        def ask():
            asked.append(1)
            return encoder

        first = adapter.tokens(PICTURES["p21"], ask)
        assert adapter.tokens(PICTURES["p21"].copy(), ask) is first
        adapter.tokens(PICTURES["p22"], ask)
        assert len(asked) == 2


class TestMasks:
    """At every level of a network, whatever its sides are there; among them such as diffusers would guess wrong."""

    @pytest.mark.parametrize("size", [(8, 8), (7, 18), (9, 5), (1, 3)])
    def test_left_is_left_at_every_level(self, bench, size):
        rows, columns = size
        mask = torch.zeros(1, 1, rows * 8, columns * 8)
        mask[..., : columns * 4] = 1.0
        seen = Seen(bench.loaded("plain"), torch.zeros(1, 4, 8), torch.zeros(1, 4, 8), 1.0, "all", 0.0, 1.0, mask)
        looking = Attending([seen], levels=2)
        looking.before_network(step_of(torch.zeros(3, 4, rows, columns)))
        for high, wide in (size, (-(-rows // 2), -(-columns // 2))):
            (found,) = looking.masks(6, high * wide)
            shrunk = IPAdapterMaskProcessor.downsample(found[:, 0], 6, high * wide, 1)[..., 0].view(6, high, wide)
            expected = torch.nn.functional.interpolate(mask, (high, wide), mode="bicubic")[0]
            assert torch.equal(shrunk, expected.expand(6, -1, -1))

    def test_windows_have_their_parts(self, bench):
        mask = torch.zeros(1, 1, 128, 128)
        mask[..., :64] = 1.0
        seen = Seen(bench.loaded("plain"), torch.zeros(1, 4, 8), torch.zeros(1, 4, 8), 1.0, "all", 0.0, 1.0, mask)
        looking, windows = Attending([seen], levels=1), cover(16, 16, 8, 0)
        for shown in (slice(0, 3), slice(3, 4)):
            latents = torch.zeros(shown.stop - shown.start, 4, 8, 8)
            looking.before_network(replace(step_of(latents), windows=windows, images=shown))
            (found,) = looking.masks(2 * len(latents), 64)
            left = [float(index % 2 == 0) for index in range(4)[shown]] * 2
            assert found.mean(dim=(1, 2, 3)).tolist() == pytest.approx(left, abs=0.02)


def step_of(latents: torch.Tensor) -> Step:
    zero = torch.tensor(0.0)
    return Step(0, 1, zero, zero, latents, torch.cat([latents] * 2), zero, "epsilon")


class TestBlocks:
    """Of the real networks, built without their weights."""

    def names(self, family: str) -> list[str]:
        with init_empty_weights():
            unet = UNet2DConditionModel.from_config(config_of(CONFIGS / family / "unet"))
        self.unet = unet
        return [name for name in unet.attn_processors if name.endswith("attn2.processor")]

    def chosen(self, family: str, use: str) -> set[str]:
        names = self.names(family)
        return {name for name in names if name.startswith(blocks_for(use, names, family == "sdxl"))}

    @pytest.mark.parametrize(
        ("use", "scales"),
        [("style", {"up": {"block_0": [0.0, 1.0, 0.0]}}), ("content", {"down": {"block_2": [0.0, 1.0]}})],
    )
    def test_of_sdxl_are_those_of_the_diffusers_docs(self, use, scales):
        chosen = self.chosen("sdxl", use)
        (expanded,) = _maybe_expand_lora_scales(self.unet, [scales], default_scale=0.0)
        on = tuple(name for name, scale in expanded.items() if scale)
        assert chosen == {name for name in self.names("sdxl") if name.startswith(on)}
        assert len(chosen) == 10

    def test_of_sd15_are_those_of_instantstyle(self):
        assert {name.split(".attentions")[0] for name in self.chosen("sd15", "style")} == {"up_blocks.1"}
        content = {name.split(".attentions")[0] for name in self.chosen("sd15", "content")}
        assert content == {"down_blocks.2", "mid_block"}

    def test_a_file_for_sd15_has_the_size_of_the_published_one(self, tmp_path):
        """h94/IP-Adapter's ip-adapter_sd15.safetensors, to the byte: the same tensors under names as long."""
        self.names("sd15")
        entry = write_adapter(tmp_path / "ip-adapter_sd15.safetensors", self.unet, width=1024, dtype=torch.float16)
        assert entry.path.stat().st_size == 44_642_768
        (found,) = scan((tmp_path,), builtin=False).adapters
        assert (found.family, found.reads, found.width) == ("sd15", "projection", 1024)
        assert len(load_adapter(found, self.unet, "SD 1.5", CPU).attentions) == 16

    @pytest.mark.parametrize("family", ["sd15", "sdxl"])
    def test_all_are_all(self, family):
        assert self.chosen(family, "all") == set(self.names(family))
