"""AUTOMATIC1111's ``parameters`` text: written so that its tools read it, and read back into settings.

The grammar is that of ``parse_generation_parameters`` in stable-diffusion-webui: the prompt, a line that starts
with ``Negative prompt:``, and a last line of ``Key: value`` pairs in which a value with a comma, colon or line
break is a JSON string. ControlNet units follow ``infotext.py`` of sd-webui-controlnet.
"""

from __future__ import annotations

import json

from scumble_shared.job import Control, GenerateJob

__all__ = ["SAMPLER_NAMES", "infotext"]

SAMPLER_NAMES = {
    "ddim": ("DDIM", ""),
    "euler": ("Euler", ""),
    "euler_a": ("Euler a", ""),
    "dpmpp_2m": ("DPM++ 2M", ""),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "unipc": ("UniPC", ""),
    "lcm": ("LCM", ""),
}
"""Our sampler -> A1111's name and schedule type ("" is its own choice for that sampler)."""


def infotext(job: GenerateJob, *, index: int = 0, version: str = "") -> str:
    """The ``parameters`` text of image ``index`` of ``job``'s batch. version: that of Scumble, "" leaves it out."""
    sampler, schedule = SAMPLER_NAMES.get(job.sampler, (job.sampler, ""))
    pairs: list[tuple[str, object]] = [("Steps", job.num_inference_steps), ("Sampler", sampler)]
    if schedule:
        pairs.append(("Schedule type", schedule))
    pairs += [
        ("CFG scale", f"{job.guidance_scale:g}"),
        ("Seed", job.seed + index),
        ("Size", f"{job.width}x{job.height}"),
        ("Model", job.model),
    ]
    if job.init_image is not None:
        pairs.append(("Denoising strength", f"{job.denoising_strength:g}"))
    pairs += [(f"ControlNet {number}", _unit(control)) for number, control in enumerate(job.controls)]
    if version:
        pairs.append(("Version", f"Scumble {version}"))
    lines = [job.prompt]
    if job.negative_prompt:
        lines.append(f"Negative prompt: {job.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs))
    return "\n".join(lines)


def _unit(control: Control) -> str:
    """One ControlNet unit; commas and colons have no escape inside it."""
    fields = {
        "Module": control.kind,
        "Model": control.model or control.kind,
        "Weight": f"{control.strength:g}",
        "Guidance Start": f"{control.start:g}",
        "Guidance End": f"{control.end:g}",
    }
    return ", ".join(f"{name}: {value.translate({44: 95, 58: 95})}" for name, value in fields.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
