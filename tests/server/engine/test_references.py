"""Reference pictures: our loop gives the pixels of diffusers' pipelines with IP-Adapters, and nothing of them stays.

Tolerance as in ``test_equals_diffusers``: no channel differs by more than one level of 255, one in a hundred by that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from scumble_server.engine.extensions.controls import ActiveControl
from scumble_server.engine.family import LoadedModel
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.references import attending, load_adapter, load_encoder, prepared
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.entries import AdapterEntry
from scumble_shared.job import GenerateJob, Reference
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from .conftest import CPU, Hooks, picture
from .test_equals_diffusers import NEGATIVE, PROMPT, STEPS
from .tiny_adapters import write_adapter, write_encoder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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

    def theirs(self, kinds, images, scale, control=None, guidance_scale=4.0, batch=1, **arguments):
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
                output_type="np",
                **arguments,
            ).images
        finally:
            pipe.unload_ip_adapter()
            self.model.unet.set_attn_processor(own)
            assert dict(self.model.unet.config) == config
        return [(image * 255).round().astype(np.uint8) for image in made]


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def bench(request, tmp_path_factory) -> Bench:
    folder = tmp_path_factory.mktemp("references")
    if request.param == "sd15":
        model = request.getfixturevalue("tiny")
        nets = request.getfixturevalue("models_folder") / "tiny" / "controlnet_depth"
        from scumble_server.engine.families import family_of

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
    return Bench(request.param, model, folder, adapters, folder / "image_encoder", control, nets)


def pil(name: str) -> Image.Image:
    return Image.fromarray(PICTURES[name])


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.std() > 8, "a flat picture would prove nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


ONE = (Reference("p21", weight=0.7),)


class TestEqualsDiffusers:
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

    def test_with_a_controlnet(self, bench):
        theirs = bench.theirs(["plain"], [pil("p21")], 0.7, control=bench.depth.image)
        assert_same(bench.ours(ONE, controls=[bench.depth])[0], theirs[0])

    def test_two_pictures_of_one_adapter(self, bench):
        theirs = bench.theirs(["plain"], [[pil("p21"), pil("p22")]], 0.7)
        assert_same(bench.ours((*ONE, Reference("p22", weight=0.7)))[0], theirs[0])

    def test_two_adapters(self, bench):
        theirs = bench.theirs(["plain", "plus"], [pil("p21"), pil("p22")], [0.7, 0.4])
        assert_same(bench.ours((*ONE, Reference("p22", weight=0.4)), ["plain", "plus"])[0], theirs[0])

    def test_masks(self, bench):
        masks = IPAdapterMaskProcessor().preprocess([Image.fromarray(TENSORS[name]) for name in ("left", "right")])
        arguments = {"ip_adapter_masks": [masks.reshape(1, 2, 64, 64)]}
        theirs = bench.theirs(["plain"], [[pil("p21"), pil("p22")]], [[0.7, 0.4]], cross_attention_kwargs=arguments)
        references = (replace(ONE[0], mask="left"), Reference("p22", weight=0.4, mask="right"))
        assert_same(bench.ours(references)[0], theirs[0])
