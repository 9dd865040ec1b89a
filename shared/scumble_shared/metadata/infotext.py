"""AUTOMATIC1111's ``parameters`` text: written so that its tools read it, and read back into settings.

The grammar is that of ``parse_generation_parameters`` in stable-diffusion-webui: the prompt, a line that starts
with ``Negative prompt:``, and a last line of ``Key: value`` pairs in which a value with a comma, colon or line
break is a JSON string. ControlNet units follow ``infotext.py`` of sd-webui-controlnet.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from ..errors import ErrorCode, ScumbleError
from ..job import Control, GenerateJob
from ..prompts.lora_tags import take_loras, with_loras
from .settings import ImageSettings, Numbers, control_kind, model_id

__all__ = ["infotext", "read_infotext"]

SAMPLER_NAMES = {
    "ddim": ("DDIM", ""),
    "euler": ("Euler", ""),
    "euler_a": ("Euler a", ""),
    "dpmpp_2m": ("DPM++ 2M", "Uniform"),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "unipc": ("UniPC", ""),
    "lcm": ("LCM", ""),
    "tcd": ("TCD", ""),
}
"""Our sampler -> A1111's name and schedule type; "" is its own choice, which for DPM++ 2M would be Karras."""

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""One ``Key: value``; the expression of stable-diffusion-webui."""

PLAIN_SCHEDULES = ("", "Automatic", "Uniform", "Normal")
IGNORED = {"Lora hashes", "TI hashes", "Version", "RNG", "Hashes", "Created Date", "Civitai resources"}
"""Keys that don't change what the artist has to set."""


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
    lines = [with_loras(job.prompt, job.loras)]
    if job.negative_prompt:
        lines.append(f"Negative prompt: {job.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs))
    return "\n".join(lines)


def _unit(control: Control) -> str:
    """One ControlNet unit; commas and colons have no escape inside it."""
    parts = {
        "Module": control.kind,
        "Model": control.model or control.kind,
        "Weight": f"{control.strength:g}",
        "Guidance Start": f"{control.start:g}",
        "Guidance End": f"{control.end:g}",
    }
    return ", ".join(f"{name}: {value.replace(',', '_').replace(':', '_')}" for name, value in parts.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def read_infotext(text: str) -> ImageSettings:
    """The settings in a ``parameters`` text.

    Raises ScumbleError INVALID_FIELD if it has no line of parameters: a prompt alone is not settings.
    """
    *lines, last = text.strip().split("\n")
    pairs = {key: _unquoted(value.strip()) for key, value in PAIR.findall(last)}
    if len(pairs) < 3:
        message = "the picture's text has no line of parameters such as 'Steps: 20, Sampler: Euler a, ...'"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="parameters")
    prompt, negative_prompt = _prompts(lines)
    reader = _Reader(pairs)
    prompt, tags = take_loras(prompt)
    job = replace(reader.job(prompt, negative_prompt), loras=tuple(tag.lora for tag in tags))
    model_hash = pairs.get("Model hash", "").lower()
    return ImageSettings(
        job,
        "a1111",
        model_name=pairs.get("Model", ""),
        model_hash=model_hash if re.fullmatch("[0-9a-f]{8,64}", model_hash) else "",
        loras=tags,
        notes=(*reader.numbers.notes, *reader.notes()),
    )


def _prompts(lines: list[str]) -> tuple[str, str]:
    """Prompt and negative prompt; each may have several lines."""
    prompts: tuple[list[str], list[str]] = ([], [])
    negative = False
    for line in (line.strip() for line in lines):
        if line.startswith("Negative prompt:"):
            negative, line = True, line.removeprefix("Negative prompt:").strip()
        prompts[negative].append(line)
    return "\n".join(prompts[0]), "\n".join(prompts[1])


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) else value


class _Reader:
    """Takes the pairs one by one, so that what is left at the end can be told."""

    def __init__(self, pairs: dict[str, str]) -> None:
        self.pairs = dict(pairs)
        self.numbers = Numbers()
        self.replaced: list[str] = []

    def job(self, prompt: str, negative_prompt: str) -> GenerateJob:
        width, _, height = self._take("Size", "512x512").partition("x")
        model, model_hash = self._take("Model"), self._take("Model hash")
        if not model:
            known = f", only its hash {model_hash}" if model_hash else ""
            self.replaced.append(f"The text doesn't name its model{known}")
        return GenerateJob(
            prompt,
            negative_prompt=negative_prompt,
            model=model_id(model),
            width=self.numbers.side("Width", width),
            height=self.numbers.side("Height", height),
            sampler=self._sampler(),
            num_inference_steps=self.numbers.steps(self._take("Steps", "20")),
            guidance_scale=self.numbers.guidance(self._take("CFG scale", "7")),
            seed=self.numbers.seed(self._take("Seed", "0")),
            controls=self._controls(),
            denoising_strength=self.numbers.fraction("Denoising strength", self._take("Denoising strength", "1"), 1.0),
        )

    def notes(self) -> list[str]:
        if self.pairs.get("Clip skip") == "1":
            del self.pairs["Clip skip"]
        left = sorted(key for key in self.pairs if key not in IGNORED)
        return [*self.replaced, f"Not carried over: {', '.join(left)}"] if left else self.replaced

    def _take(self, key: str, default: str = "") -> str:
        return self.pairs.pop(key, default)

    def _sampler(self) -> str:
        """Both ways of writing it: ``DPM++ 2M`` with a schedule type, and the older ``DPM++ 2M Karras``."""
        schedule = self._take("Schedule type")
        full = name = self._take("Sampler", "DPM++ 2M Karras")
        if name.endswith(" Karras"):
            name, schedule = name.removesuffix(" Karras"), "Karras"
        if name == "DPM++ 2M" and schedule == "Automatic":
            schedule = "Karras"
        plain = schedule in PLAIN_SCHEDULES
        for sampler, (known, known_schedule) in SAMPLER_NAMES.items():
            if name == known and (plain if known_schedule != "Karras" else schedule == "Karras"):
                return sampler
        nearest = next((key for key, value in SAMPLER_NAMES.items() if value[0] == name), "dpmpp_2m_karras")
        self.replaced.append(
            f"Sampler {full!r} with schedule {schedule or 'Automatic'!r} isn't offered: {nearest} is used"
        )
        return nearest

    def _controls(self) -> tuple[Control, ...]:
        units = [self._take(key) for key in sorted(self.pairs) if re.fullmatch(r"ControlNet \d+", key)]
        return tuple(control for unit in units if (control := self._control(unit)))

    def _control(self, unit: str) -> Control | None:
        parts = {key.strip(): value.strip() for key, _, value in (item.partition(":") for item in unit.split(","))}
        module, model = parts.get("Module", ""), parts.get("Model", "")
        kind = control_kind(module, model)
        if kind is None:
            self.replaced.append(f"ControlNet {model or module or '?'!r} isn't of a kind that is offered")
            return None
        return Control(
            kind,
            strength=float(self.numbers.real("ControlNet weight", parts.get("Weight", "1"), 0.0, 10.0, 1.0)),
            start=self.numbers.fraction("ControlNet start", parts.get("Guidance Start", "0"), 0.0),
            end=self.numbers.fraction("ControlNet end", parts.get("Guidance End", "1"), 1.0),
        )
