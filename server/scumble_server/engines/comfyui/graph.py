"""A job as ComfyUI's graph in its API form: core nodes only, so that every installation has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scumble_shared.job import GenerateJob

__all__ = ["NEEDED", "OUTPUT", "SAMPLER", "SAMPLERS", "Placed", "graph_of"]

Graph = dict[str, dict[str, Any]]
Link = list[Any]

SAMPLERS = {
    "ddim": ("ddim", "ddim_uniform"),
    "euler": ("euler", "normal"),
    "euler_a": ("euler_ancestral", "normal"),
    "dpmpp_2m": ("dpmpp_2m", "normal"),
    "dpmpp_2m_karras": ("dpmpp_2m", "karras"),
    "unipc": ("uni_pc", "normal"),
    "lcm": ("lcm", "sgm_uniform"),
}
"""Ours -> ComfyUI's sampler and scheduler."""

OUTPUT, SAMPLER = "output", "sampler"
"""Ids of the nodes whose picture is fetched, and whose steps are told."""

NEEDED = (
    *("CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "KSampler", "VAEDecode", "PreviewImage"),
    *("LoadImage", "LoadImageMask", "VAEEncode", "SetLatentNoiseMask"),
    *("ControlNetLoader", "ControlNetApplyAdvanced", "LoraLoader"),
)
"""Node classes that graphs here may have."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What a graph names: the checkpoint, LoRAs with weights, ControlNets with the names of their uploaded images, and
    the names of the picture to begin with and its mask."""

    model: str
    width: int
    height: int
    loras: Sequence[tuple[str, float]] = ()
    controls: Sequence[tuple[str, str]] = ()
    start: str = ""
    mask: str = ""


def graph_of(job: GenerateJob, placed: Placed, seed: int) -> Graph:
    """The graph of one picture."""
    graph: Graph = {"checkpoint": _node("CheckpointLoaderSimple", ckpt_name=placed.model)}
    model, clip, vae = (["checkpoint", index] for index in range(3))
    for index, (name, weight) in enumerate(placed.loras):
        key = f"lora{index}"
        graph[key] = _node(
            "LoraLoader", model=model, clip=clip, lora_name=name, strength_model=weight, strength_clip=weight
        )
        model, clip = [key, 0], [key, 1]
    graph["positive"] = _node("CLIPTextEncode", text=job.prompt, clip=clip)
    graph["negative"] = _node("CLIPTextEncode", text=job.negative_prompt, clip=clip)
    positive, negative = _controls(graph, job, placed, vae)
    sampler, scheduler = SAMPLERS[job.sampler]
    graph[SAMPLER] = _node(
        "KSampler",
        model=model,
        positive=positive,
        negative=negative,
        latent_image=_latent(graph, placed, vae),
        seed=seed,
        steps=job.num_inference_steps,
        cfg=job.guidance_scale,
        sampler_name=sampler,
        scheduler=scheduler,
        denoise=job.denoising_strength if placed.start else 1.0,
    )
    graph["decode"] = _node("VAEDecode", samples=[SAMPLER, 0], vae=vae)
    graph[OUTPUT] = _node("PreviewImage", images=["decode", 0])
    return graph


def _controls(graph: Graph, job: GenerateJob, placed: Placed, vae: Link) -> tuple[Link, Link]:
    positive, negative = ["positive", 0], ["negative", 0]
    for index, ((net, image), control) in enumerate(zip(placed.controls, job.controls, strict=True)):
        graph[f"net{index}"] = _node("ControlNetLoader", control_net_name=net)
        graph[f"shown{index}"] = _node("LoadImage", image=image)
        key = f"control{index}"
        graph[key] = _node(
            "ControlNetApplyAdvanced",
            positive=positive,
            negative=negative,
            control_net=[f"net{index}", 0],
            image=[f"shown{index}", 0],
            vae=vae,  # SD 3's and FLUX's look at latents
            strength=control.strength,
            start_percent=control.start,
            end_percent=control.end,
        )
        positive, negative = [key, 0], [key, 1]
    return positive, negative


def _latent(graph: Graph, placed: Placed, vae: Link) -> Link:
    if not placed.start:
        graph["empty"] = _node("EmptyLatentImage", width=placed.width, height=placed.height, batch_size=1)
        return ["empty", 0]
    graph["start"] = _node("LoadImage", image=placed.start)
    graph["encode"] = _node("VAEEncode", pixels=["start", 0], vae=vae)
    if not placed.mask:
        return ["encode", 0]
    graph["mask"] = _node("LoadImageMask", image=placed.mask, channel="red")
    graph["masked"] = _node("SetLatentNoiseMask", samples=["encode", 0], mask=["mask", 0])
    return ["masked", 0]


def _node(class_type: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
