"""Settings found in an image: a job to start from, and in words what could not be carried over."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from ..control_names import kinds_named
from ..job import DEFAULT_MODEL, GenerateJob
from ..limits import DEFAULT_LIMITS
from ..prompts.lora_tags import LoraTag, id_of

__all__ = ["ImageSettings", "Numbers", "control_kind", "model_id", "stem"]

SEED_MAX = 2**63 - 1 - DEFAULT_LIMITS.batch_size
"""What a job may have; A1111 stays below 2**32, ComfyUI below 2**64."""

WEIGHT_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What an image file says about how it was made.

    job: for ``source`` "scumble" the very job, its tensors by content address. For "a1111" and "comfyui" a job
    without pictures, whose ``model`` is the other tool's name for the checkpoint, without folder and ending: it may
    or may not be a model id here.
    index: which image of the job's batch it was.
    model_hash: first hex digits of the checkpoint's SHA-256 as A1111 writes them, "" if unknown.
    loras: by the names they had; the job has their ids.
    notes: sentences for the artist: what was changed or left out.
    provenance: JSON text of versions, device and timings; "{}" from other tools.
    """

    job: GenerateJob
    source: str
    index: int = 0
    model_name: str = ""
    model_hash: str = ""
    loras: tuple[LoraTag, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: str = "{}"

    def single(self) -> GenerateJob:
        """The job that makes this one image of the batch again."""
        return replace(self.job, seed=self.job.seed + self.index, batch_size=1)


class Numbers:
    """Numbers out of foreign text: what isn't one, or is out of range, is left at our default and noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def whole(self, label: str, value: object, low: int, high: int, default: int) -> int:
        number = self.real(label, value, low, high, default)
        return int(number)

    def real(self, label: str, value: object, low: float, high: float, default: float) -> float:
        """bounds inclusive; exact for integers of any size."""
        number = _number(value)
        if number is not None and low <= number <= high:
            return number
        self.notes.append(f"{label} {str(value)[:40]!r} is not a number from {low} to {high}; {default:g} is used")
        return default

    def side(self, label: str, value: object) -> int:
        return self.whole(label, value, DEFAULT_LIMITS.generate_side_min, DEFAULT_LIMITS.generate_side, 512)

    def steps(self, value: object) -> int:
        return self.whole("Steps", value, 1, DEFAULT_LIMITS.num_inference_steps, 20)

    def guidance(self, value: object) -> float:
        return float(self.real("CFG scale", value, 0.0, DEFAULT_LIMITS.guidance_scale, 7.0))

    def seed(self, value: object) -> int:
        return self.whole("Seed", value, 0, SEED_MAX, 0)

    def fraction(self, label: str, value: object, default: float) -> float:
        return float(self.real(label, value, 0.0, 1.0, default))


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value
    try:
        return int(value) if isinstance(value, str) and value.strip().isdecimal() else _finite(float(value))
    except ValueError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def stem(name: str) -> str:
    """File name without folder and ending, whichever system it was written on."""
    last = re.split(r"[/\\]", name)[-1]
    return next((last[: -len(ending)] for ending in WEIGHT_ENDINGS if last.lower().endswith(ending)), last)


def model_id(name: str) -> str:
    """The id that the model index gives to a file called ``name``; the built-in model's for an empty one."""
    return id_of(stem(name)) or DEFAULT_MODEL


def control_kind(*names: str) -> str | None:
    """The control kind that one of ``names`` (a ControlNet's, a preprocessor's) tells, in that order."""
    return next((kind for name in names for kind in kinds_named(name)), None)
