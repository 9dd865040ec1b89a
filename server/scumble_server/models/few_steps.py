"""Models and LoRAs that were trained to paint in few steps: which they are, and what they need for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FewSteps", "few_steps"]


@dataclass(frozen=True, slots=True)
class FewSteps:
    """timestep_spacing: "" leaves the model's. weight: of a LoRA."""

    way: str
    sampler: str
    num_inference_steps: int
    guidance_scale: float = 1.0
    timestep_spacing: str = ""
    weight: float = 1.0


WAYS: Mapping[str, FewSteps] = {
    "lcm": FewSteps("LCM", "lcm", 6),
    "tcd": FewSteps("TCD", "tcd", 4),
    "dmd2": FewSteps("DMD2", "lcm", 4),
    "turbo": FewSteps("Turbo", "euler_a", 4, timestep_spacing="trailing"),
    "lightning": FewSteps("Lightning", "euler", 4, timestep_spacing="trailing"),
    "hyper": FewSteps("Hyper-SD", "ddim", 8, timestep_spacing="trailing"),
}
"""Word in the name -> what its makers say of it."""

HYPER_MAKES = ("sd", "sd15", "sdxl", "sd3", "flux", "step", "steps")
"""Words one of which stands with "hyper" in the name of what Hyper-SD made; by itself it says little."""

FLOWS = ("sd3", "flux")

WRITTEN_TOGETHER = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Between the words of "dreamshaperXLTurboDPM"."""


def few_steps(name: str, family: str, takes_guidance: bool | None = None, is_lora: bool = False) -> FewSteps | None:
    """What ``name``, of a file or folder, says; None for models of the usual kind.

    takes_guidance: as the weights tell; a UNet that does is LCM, a FLUX that doesn't is schnell, whatever the name.
    """
    words = re.findall(r"[a-z]+\d*|\d+", WRITTEN_TOGETHER.sub(" ", name).lower())
    words += [word.rstrip("0123456789") for word in words]
    if family == "flux" and takes_guidance is False:
        return FewSteps("schnell", "euler", 4)
    if family not in FLOWS and takes_guidance:
        return FewSteps("LCM", "lcm", 4, guidance_scale=8.0)
    way = next((way for word, way in WAYS.items() if word in words), None)
    if way is None or (way.way == "Hyper-SD" and not any(word in words for word in HYPER_MAKES)):
        return None
    steps = _said_steps(name) or way.num_inference_steps
    guided = "cfg" in words
    if family in FLOWS:
        # Those of flow go on with Euler; LoRAs for them keep the guidance, Hyper-SD's want an eighth of the weight.
        guidance = 3.5 if family == "flux" else 5.0 if guided else 1.0
        weight = 0.125 if way.way == "Hyper-SD" and is_lora else 1.0
        return FewSteps(way.way, "euler", max(steps, 8) if family == "flux" else steps, guidance, weight=weight)
    if way.way == "Hyper-SD" and steps == 1:
        return FewSteps(way.way, "lcm", 4)  # made for any number up to eight, with consistency sampling
    return FewSteps(
        way.way, way.sampler, steps, 5.0 if guided else way.guidance_scale, way.timestep_spacing, way.weight
    )


def _said_steps(name: str) -> int | None:
    """As in "4step", "8-steps", "2_step"."""
    found = re.search(r"(\d+)[ _-]?steps?", name.lower())
    return int(found.group(1)) if found and 1 <= int(found.group(1)) <= 50 else None
