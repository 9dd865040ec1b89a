"""What is usual for each family of models. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scumble_shared.job import SAMPLERS

__all__ = [
    "FAMILY_BY_CONTEXT",
    "FLUX_UNION_MODES",
    "FLUX_UNION_PRO_KINDS",
    "UNION_MODES",
    "Usual",
    "family_name",
    "runs_like",
    "usual",
]

FAMILY_BY_CONTEXT: Mapping[int, str] = {768: "sd15", 1024: "sd2", 1280: "sdxl-refiner", 2048: "sdxl"}
"""Width of the text embedding the UNet attends to -> family."""

UNION_MODES: Mapping[str, int] = {
    "openpose": 0,
    "depth": 1,
    "softedge": 2,
    "scribble": 2,
    "canny": 3,
    "lineart": 3,
    "normal": 4,
    "segmentation": 5,
    "tile": 6,
}
"""Control kind -> what ControlNet-Union for SDXL (xinsir's; promax too) calls it."""

FLUX_UNION_MODES: Mapping[str, int] = {"canny": 0, "tile": 1, "depth": 2, "openpose": 4}
"""Control kind -> what ControlNet-Union for FLUX (InstantX's, and Shakker's Pro) calls it. Its other modes are of
pictures that are blurred (3), grey (5) or bad (6)."""

FLUX_UNION_PRO_KINDS = ("canny", "depth", "softedge", "openpose")
"""Control kinds that Shakker's ControlNet-Union Pro 2.0 for FLUX tells apart by itself."""

NAMES = {
    "sd15": "Stable Diffusion 1.5",
    "sd15-custom": "Stable Diffusion 1.5 of an unusual size",
    "sd2": "Stable Diffusion 2",
    "sdxl": "SDXL",
    "sdxl-refiner": "the SDXL refiner",
    "playground": "Playground 2.5",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX",
    "flux2": "FLUX.2",
    "chroma": "Chroma",
    "starter": "the starter model",
}


@dataclass(frozen=True, slots=True)
class Usual:
    """sampler, num_inference_steps, guidance_scale, side: of pictures that nobody asked to be otherwise. samplers:
    which are possible. can_tile: pictures can go on where they began, since nothing tells a pixel where it lies.
    takes_references: there are IP-Adapters for it."""

    sampler: str = "dpmpp_2m_karras"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    side: int = 512
    samplers: tuple[str, ...] = SAMPLERS
    can_tile: bool = True
    takes_references: bool = True


FLOW_SAMPLERS = ("euler", "dpmpp_2m", "unipc")

USUAL: Mapping[str, Usual] = {
    "sd15": Usual(),
    "sd15-custom": Usual(),
    "starter": Usual(),
    "sdxl": Usual(num_inference_steps=25, guidance_scale=6.0, side=1024),
    "sd3": Usual("euler", 28, 4.5, 1024, FLOW_SAMPLERS, can_tile=False, takes_references=False),
    "flux": Usual("euler", 28, 3.5, 1024, FLOW_SAMPLERS, can_tile=False, takes_references=False),
}
"""Of the families that can be run."""


def usual(family: str) -> Usual:
    return USUAL.get(family, USUAL["sd15"])


def runs_like(family: str) -> bool:
    """Whether models of this family can be run."""
    return family in USUAL


def family_name(family: str) -> str:
    """As people call it."""
    return NAMES.get(family, family)
