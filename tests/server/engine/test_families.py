"""SDXL, SD 3 and FLUX: our denoise loop gives the pixels of diffusers' own pipelines, for each task and control.

Tolerance as for SD 1.5: no channel of any pixel differs by more than one level of 255, one in a hundred by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxMultiControlNetModel,
    FluxPipeline,
    SD3ControlNetModel,
    SD3MultiControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from scumble_server.engine.denoise import Step
from scumble_server.engine.extensions.controls import ActiveControl, Controls
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.latents import decode
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.families import FLUX_UNION_MODES, UNION_MODES
from scumble_shared.job import GenerateJob

from .conftest import Example, Hooks, picture

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]

PROMPT, NEGATIVE = "a mossy brick wall at dusk", "blurry"
STEPS = 4
TASKS = ("text-to-image", "image-to-image", "inpaint")
CONTROLS = {"none": (), "one": ("depth",), "two": ("depth", "normal"), "union": ("union:depth", "union:canny")}

PIPELINES: dict[tuple[str, str, bool], Any] = {
    ("sdxl", "text-to-image", False): StableDiffusionXLPipeline,
    ("sdxl", "text-to-image", True): StableDiffusionXLControlNetPipeline,
    ("sdxl", "image-to-image", False): StableDiffusionXLImg2ImgPipeline,
    ("sdxl", "image-to-image", True): StableDiffusionXLControlNetImg2ImgPipeline,
    ("sdxl", "inpaint", False): StableDiffusionXLInpaintPipeline,
    ("sdxl", "inpaint", True): StableDiffusionXLControlNetInpaintPipeline,
    ("sd3", "text-to-image", False): StableDiffusion3Pipeline,
    ("sd3", "text-to-image", True): StableDiffusion3ControlNetPipeline,
    ("sd3", "image-to-image", False): StableDiffusion3Img2ImgPipeline,
    ("sd3", "inpaint", False): StableDiffusion3InpaintPipeline,
    ("flux", "text-to-image", False): FluxPipeline,
    ("flux", "text-to-image", True): FluxControlNetPipeline,
    ("flux", "image-to-image", False): FluxImg2ImgPipeline,
    ("flux", "image-to-image", True): FluxControlNetImg2ImgPipeline,
    ("flux", "inpaint", False): FluxInpaintPipeline,
    ("flux", "inpaint", True): FluxControlNetInpaintPipeline,
}
UNION = {
    "text-to-image": StableDiffusionXLControlNetUnionPipeline,
    "image-to-image": StableDiffusionXLControlNetUnionImg2ImgPipeline,
    "inpaint": StableDiffusionXLControlNetUnionInpaintPipeline,
}
NETS = {"sdxl": ControlNetModel, "sd3": SD3ControlNetModel, "flux": FluxControlNetModel}

MASK = np.zeros((64, 64), np.uint8)
MASK[16:48, 16:48] = 255
"""Aligned to what a transformer sees as one."""


def examples() -> list[Any]:
    return [
        pytest.param((family, task, control), id=f"{family}-{task}-{control}", marks=shown(family, task, control))
        for family in ("sdxl", "sd3", "flux")
        for task in TASKS
        for control in CONTROLS
        if control != "union" or family != "sd3"
        if control == "none" or (family, task, True) in PIPELINES
    ]


def shown(family: str, task: str, control: str) -> list[pytest.MarkDecorator]:
    more = {"none": "", "one": " + ControlNet", "two": " + several ControlNets", "union": " + ControlNet-Union"}[
        control
    ]
    row = task.replace("inpaint", "inpainting" if more else "inpainting, outpainting") + more
    found = pytest.mark.supports(row, family=family, equal=True)
    return [found, pytest.mark.supports("diffusers folder", family=family, equal=True)] if not more else [found]


def components(example: Example, sampler: str) -> dict[str, Any]:
    model, encoder = example.model, example.model.prompt_encoder
    is_plain_flow = example.family != "sdxl" and sampler == "euler"
    scheduler = make_scheduler(sampler, model.scheduler_config, 16)
    if is_plain_flow:
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(example.folder / "scheduler")
    parts = {"vae": model.vae, "scheduler": scheduler}
    if example.family == "sdxl":
        first, second = encoder.encoders
        parts |= {"unet": model.unet, "tokenizer": first._tokenizer, "tokenizer_2": second._tokenizer}
        return parts | {"text_encoder": first.module, "text_encoder_2": second.module}
    parts["transformer"] = model.network.module
    for number, clip in zip(("", "_2"), encoder.clips, strict=False):
        parts |= {f"tokenizer{number}": clip._tokenizer, f"text_encoder{number}": clip.module}
    last = "_3" if example.family == "sd3" else "_2"
    return parts | {f"tokenizer{last}": encoder.t5._tokenizer, f"text_encoder{last}": encoder.t5.module}


def reference_net(example: Example, names: tuple[str, ...]) -> Any:
    def load(kind: Any, name: str) -> Any:
        return kind.from_pretrained(example.folder / f"controlnet_{name.split(':')[0]}").eval()

    family = example.family
    if names[0].startswith("union"):
        union = load(ControlNetUnionModel if family == "sdxl" else FluxControlNetModel, "union")
        return union if family == "sdxl" else FluxMultiControlNetModel([union] * len(names))
    nets = [load(NETS[family], name) for name in names]
    if len(nets) == 1:
        return nets[0]
    return {"sdxl": list, "sd3": SD3MultiControlNetModel, "flux": FluxMultiControlNetModel}[family](nets)


def reference(
    example: Example,
    task: str,
    names: tuple[str, ...],
    sampler: str,
    strength: float,
    steps: int = STEPS,
    guidance: float = 4.0,
    scheduler: Any = None,
) -> np.ndarray:
    """What diffusers makes of it, uint8 H x W x 3. scheduler: that of the sampler, unless given."""
    family, parts, arguments = example.family, components(example, sampler), {"prompt": PROMPT}
    parts["scheduler"] = scheduler or parts["scheduler"]
    kind = PIPELINES[family, task, bool(names)]
    if names:
        parts["controlnet"] = reference_net(example, names)
        images = [Image.fromarray(picture(index + 1)) for index in range(len(names))]
        shown = images if len(images) > 1 or names[0].startswith("union") else images[0]
        is_main = task == "text-to-image" and family == "sdxl"
        arguments["image" if is_main else "control_image"] = shown
        strengths = [0.8, 0.5][: len(names)]
        arguments["controlnet_conditioning_scale"] = strengths if len(names) > 1 else strengths[0]
        if names[0].startswith("union"):
            modes = UNION_MODES if family == "sdxl" else FLUX_UNION_MODES
            arguments["control_mode"] = [modes[name.split(":")[1]] for name in names]
            if family == "sdxl":
                kind = UNION[task]
                arguments["control_image"] = arguments.pop("image", shown) if is_main else shown
        elif len(names) > 1 and family == "flux":
            arguments["control_mode"] = [0] * len(
                names
            )  # without it these pipelines show nothing to several ControlNets
    if task != "text-to-image":
        arguments |= {"image": Image.fromarray(picture(9)), "strength": strength}
    if task == "inpaint":
        arguments |= {"mask_image": Image.fromarray(MASK)}
    if not names or family != "sdxl":
        arguments |= {"width": 64, "height": 64}
    if family == "sdxl" and task == "image-to-image":
        arguments = {key: value for key, value in arguments.items() if key not in ("width", "height")}
    if family != "flux":
        arguments |= {"negative_prompt": NEGATIVE}
    if family == "flux" and not example.model.network.module.config.guidance_embeds:
        arguments |= {"max_sequence_length": 256}
    made = kind(**parts)
    made.set_progress_bar_config(disable=True)
    broken = family == "sd3" and task == "inpaint"  # decodes without the autoencoder's shift
    with without_draws(example.model.vae, len(names) if family == "flux" else 0):
        found = made(
            guidance_scale=guidance,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(7),
            output_type="latent" if broken else "np",
            **arguments,
        ).images
    return decode(example.model, found)[0] if broken else (found[0] * 255).round().astype(np.uint8)


@contextmanager
def without_draws(vae: Any, count: int) -> Iterator[None]:
    """The first ``count`` pictures are encoded as their distributions' middle: FLUX's pipelines draw a control image's
    latents with the seed of the job, so that a control would change the noise."""
    encode, left = vae.encode, [count]

    def first_ones(image: torch.Tensor) -> Any:
        encoded = encode(image)
        left[0] -= 1
        return encoded if left[0] < 0 else SimpleNamespace(latents=encoded.latent_dist.mode())

    vae.encode = first_ones
    try:
        yield
    finally:
        del vae.encode


def ours(
    example: Example,
    task: str,
    names: tuple[str, ...],
    sampler: str,
    strength: float,
    steps: int = STEPS,
    guidance: float = 4.0,
) -> np.ndarray:
    controls = [
        ActiveControl(example.nets[name.split(":")[0]], picture(index + 1), amount, 0.0, 1.0, name.split(":")[-1])
        for index, (name, amount) in enumerate(zip(names, (0.8, 0.5), strict=False))
    ]
    job = GenerateJob(
        PROMPT,
        NEGATIVE,
        width=64,
        height=64,
        sampler=sampler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=7,
        init_image=None if task == "text-to-image" else "start",
        mask="mask" if task == "inpaint" else None,
        denoising_strength=strength,
    )
    tensors = {"start": picture(9), "mask": MASK}
    return generate(job, example.model, controls, tensors, Hooks(looking=False), Timings())[0]


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.std() > 8, "a flat picture would prove nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_controlnets_of_different_depths_add_up(families, family):
    """diffusers would shorten both to the shorter one. What is added is linear in each, so that halves make a whole."""
    example = families[family]

    def residuals(**strengths: float) -> list[torch.Tensor | None]:
        controls = [
            ActiveControl(example.nets[name], picture(1), strength, 0.0, 1.0) for name, strength in strengths.items()
        ]
        found = Controls(controls).residuals(some_step(example))
        return list(found.parts)

    both, depth, short = residuals(depth=1.0, short=1.0), residuals(depth=1.0), residuals(short=1.0)
    assert len(both) == len(depth) == len(short)
    for whole, first, second in zip(both, depth, short, strict=True):
        expected = first if second is None else first + second
        torch.testing.assert_close(whole, expected)


def some_step(example: Example) -> Step:
    text = example.model.prompt_encoder.text([PROMPT], None, 4.0)
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    signal, timestep = torch.tensor(0.5), torch.tensor(500.0)
    return Step(0, 1, timestep, signal, latents, latents, text.positive, "flow_prediction", None, pooled=text.pooled)


@pytest.mark.parametrize("case", examples())
def test_pixels_are_those_of_diffusers(families, case):
    family, task, control = case
    strengths = {"text-to-image": (1.0,), "image-to-image": (0.6,), "inpaint": (0.6, 1.0)}[task]
    for strength in strengths:
        arguments = families[family], task, CONTROLS[control], "euler", strength
        mine, theirs = ours(*arguments), reference(*arguments)
        seen = MASK > 0 if task == "inpaint" else MASK >= 0
        assert_same(mine[seen], theirs[seen])
        assert (mine[~seen] == picture(9)[~seen]).all(), "what the mask keeps is kept to the byte"
