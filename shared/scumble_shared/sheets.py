"""Comparison sheets: one job varied along one or two axes; :mod:`.sheet_picture` lays the pictures out.

An axis is written ``KIND=VALUES``: ``steps=8,20,30``, ``seed=1-4``, ``guidance=3-9 (+2)``, ``strength=0-1 [5]``,
``sampler=euler,dpmpp_2m``, ``prompt=stone,moss,"old, wet brick"`` (the first is looked for, and is a value itself).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .errors import ErrorCode, Remedy, ScumbleError
from .job import SAMPLERS, GenerateJob

__all__ = ["AXES", "CELLS", "NOTHING", "Axis", "cells", "parse_axis", "variations"]

CELLS = 256
"""Most pictures of one sheet."""

RANGE = re.compile(r"(-?[\d.]+)\s*-\s*(-?[\d.]+)\s*(?:\(\s*\+?(-?[\d.]+)\s*\)|\[\s*(\d+)\s*\])?")

Vary = Callable[[GenerateJob, str, "Axis"], GenerateJob]


@dataclass(frozen=True, slots=True)
class Axis:
    """kind: of :data:`AXES`. values: as they are written and shown."""

    kind: str
    values: tuple[str, ...]

    def labels(self) -> tuple[str, ...]:
        name = AXES[self.kind]
        return tuple(f"{name} {value}" if name else value or "(nothing)" for value in self.values)


NOTHING = Axis("none", ("",))
"""No axis: one column or row."""


def _steps(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    return replace(job, num_inference_steps=_whole(value, axis))


def _guidance(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    return replace(job, guidance_scale=_number(value, axis))


def _seed(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    return replace(job, seed=_whole(value, axis))


def _sampler(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    if value not in SAMPLERS:
        raise _refused(axis, f"{value!r} is no sampler; there are {', '.join(SAMPLERS)}")
    return replace(job, sampler=value)


def _prompt(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    wanted = axis.values[0]
    if wanted not in job.prompt and wanted not in job.negative_prompt:
        raise _refused(axis, f"{wanted!r} isn't in the prompt, so that nothing can be put in its place")
    return replace(
        job, prompt=job.prompt.replace(wanted, value), negative_prompt=job.negative_prompt.replace(wanted, value)
    )


def _strength(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    if not job.controls:
        raise _refused(axis, "there is no control whose strength could be varied")
    strength = _number(value, axis)
    return replace(job, controls=tuple(replace(control, strength=strength) for control in job.controls))


def _denoising(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    return replace(job, denoising_strength=_number(value, axis))


def _model(job: GenerateJob, value: str, axis: Axis) -> GenerateJob:
    return replace(job, model=value)


VARIED: Mapping[str, Vary] = {
    "steps": _steps,
    "guidance": _guidance,
    "seed": _seed,
    "sampler": _sampler,
    "prompt": _prompt,
    "strength": _strength,
    "denoising": _denoising,
    "model": _model,
    "none": lambda job, value, axis: job,
}

AXES: Mapping[str, str] = {
    "steps": "steps",
    "guidance": "guidance",
    "seed": "seed",
    "sampler": "",
    "prompt": "",
    "strength": "strength",
    "denoising": "denoising",
    "model": "",
    "none": "",
}
"""What can be varied -> what stands before a value in its label."""

WHOLE = ("steps", "seed")
NUMBERS = ("steps", "guidance", "seed", "strength", "denoising")


def parse_axis(text: str) -> Axis:
    """``KIND=VALUES``, see above. Raises ScumbleError INVALID_FIELD (field "axis")."""
    kind, equals, values = text.partition("=")
    kind = kind.strip()
    if kind not in VARIED or not equals:
        known = ", ".join(name for name in AXES if name != "none")
        message = f"{text[:60]!r} is no axis; write KIND=VALUES, with {known}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="axis", remedy=Remedy("For example steps=8,20,30"))
    try:
        rows = list(csv.reader([values], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise _refused(Axis(kind, ()), f"its values can't be read: {error}") from error
    given = [value.strip() for row in rows for value in row]
    axis = Axis(kind, tuple(given))
    if kind in NUMBERS:
        axis = Axis(kind, tuple(number for value in given for number in _numbers(value, axis)))
    if not any(axis.values):
        raise _refused(axis, "it has no values")
    if len(axis.values) > CELLS:
        raise _refused(axis, f"it has more than {CELLS} values")
    return axis


def variations(job: GenerateJob, count: int) -> Axis:
    """The job's seed and those that follow."""
    return Axis("seed", tuple(str(job.seed + number) for number in range(count)))


def cells(job: GenerateJob, x: Axis, y: Axis = NOTHING) -> tuple[tuple[GenerateJob, ...], ...]:
    """The jobs of a sheet, row by row, each of one picture. Raises ScumbleError INVALID_FIELD (field "axis")."""
    if len(x.values) * len(y.values) > CELLS:
        raise _refused(x, f"a sheet of {len(x.values)} x {len(y.values)} is more than {CELLS} pictures")
    single = replace(job, batch_size=1)
    return tuple(
        tuple(VARIED[x.kind](VARIED[y.kind](single, down, y), across, x) for across in x.values) for down in y.values
    )


def _numbers(text: str, axis: Axis) -> list[str]:
    """A number, or all of a range."""
    match = RANGE.fullmatch(text)
    if match is None:
        return [_written(_whole(text, axis) if axis.kind in WHOLE else _number(text, axis))]
    first, last = (_number(part, axis) for part in match.group(1, 2))
    if match[4]:
        count = int(match[4])
        if not 1 <= count <= CELLS:
            raise _refused(axis, f"{text!r} has more than {CELLS} values, or none")
        found = [first + (last - first) * number / max(count - 1, 1) for number in range(count)]
    else:
        step = abs(_number(match[3], axis)) if match[3] else 1.0
        if not step or abs(last - first) / step > CELLS:
            raise _refused(axis, f"{text!r} has more than {CELLS} values")
        count = math.floor(abs(last - first) / step + 1e-9) + 1
        found = [first + math.copysign(step, last - first) * number for number in range(count)]
    return [_written(round(value) if axis.kind in WHOLE else value) for value in found]


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _number(text: str, axis: Axis) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _refused(axis, f"{text[:40]!r} is no number")
    return value


def _whole(text: str, axis: Axis) -> int:
    if not re.fullmatch(r"\d{1,19}", text.strip()):
        raise _refused(axis, f"{text[:40]!r} is no whole number")
    return int(text)


def _refused(axis: Axis, message: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, f"{axis.kind}: {message}", field="axis")
