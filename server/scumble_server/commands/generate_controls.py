"""Controls as arguments: ``--control KIND[=PHOTO][:STRENGTH[:START[:END]]]`` and ``--control-image KIND=FILE...``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scumble_shared.detectors import AUTO_DETECTOR
from scumble_shared.job import CONTROL_KINDS, Control, GenerateJob
from scumble_shared.messages import ModelInfo
from scumble_shared.tensor import AnyArray, digest_of

from ..buffers.convert import read_color
from ..buffers.files import refused

__all__ = ["add_control_arguments", "controls_of"]

EXAMPLE = "KIND:STRENGTH:START:END such as depth:0.8:0:0.6, or KIND=PHOTO:STRENGTH:START:END"


@dataclass(frozen=True, slots=True)
class _Said:
    control: Control
    path: Path | None = None


def add_control_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="KIND[=PHOTO][:STRENGTH[:START[:END]]]",
        help=f"one of {', '.join(CONTROL_KINDS)}, from the buffers or found in a photo or painting; "
        "default: depth and normal where given and the model knows them",
    )
    group.add_argument(
        "--control-image",
        action="append",
        default=[],
        metavar="KIND=FILE[:STRENGTH[:START[:END]]]",
        help="the same with a control image that is ready",
    )
    group.add_argument(
        "--detector", default=AUTO_DETECTOR, metavar="ID", help="what looks at photos (default: what suits the kind)"
    )


def controls_of(
    arguments: argparse.Namespace, model: ModelInfo, like: GenerateJob | None
) -> tuple[tuple[Control, ...], list[AnyArray]]:
    """Those that are said, and their pictures; else those of the given buffers, as strong as in the picture to be like.

    Raises ScumbleError for what isn't understood, and for files that are no pictures.
    """
    said = [_said(text, "control", arguments.detector) for text in arguments.control]
    said += [_said(text, "control_image") for text in arguments.control_image]
    if not said:
        return _of_buffers(arguments, model, like), []
    controls, pictures = [], []
    for one in said:
        if one.path is None:
            controls.append(one.control)
            continue
        pictures.append(read_color(one.path, "control"))
        controls.append(replace(one.control, image=digest_of(pictures[-1])))
    return tuple(controls), pictures


def _of_buffers(arguments: argparse.Namespace, model: ModelInfo, like: GenerateJob | None) -> tuple[Control, ...]:
    given = {"depth": arguments.depth, "normal": arguments.normal}
    kinds = [kind for kind, path in given.items() if path and kind in model.control_kinds]
    strengths = {control.kind: control for control in reversed(like.controls if like else ())}
    return tuple(
        replace(strengths.get(kind, Control(kind)), model="", image=None, detector="", near=None, far=None)
        for kind in kinds
    )


def _said(text: str, argument: str, detector: str = "") -> _Said:
    kind, equals, rest = text.partition("=")
    if equals:
        name, numbers = _file_and_numbers(rest)
    else:
        kind, *numbers = text.split(":")
        name = ""
    if kind not in CONTROL_KINDS:
        raise refused(argument, f"{kind!r} is no kind of control; known are {', '.join(CONTROL_KINDS)}")
    values = list(_values(numbers))
    if len(values) > 3 or not all(math.isfinite(value) for value in values):
        raise refused(argument, f"expected {EXAMPLE}, got {text!r}")
    if argument == "control_image" and not name:
        raise refused(argument, f"expected KIND=FILE, got {text!r}")
    strength, start, end = (*values, *(1.0, 0.0, 1.0)[len(values) :])
    control = Control(kind, strength=strength, start=start, end=end, detector=detector if name else "")
    return _Said(control, Path(name) if name else None)


def _file_and_numbers(text: str) -> tuple[str, list[str]]:
    """What follows the file is read from the end, since a file's name may have colons, too."""
    name, numbers = text, list[str]()
    while not Path(name).exists():
        before, colon, last = name.rpartition(":")
        if not colon or not math.isfinite(next(_values([last]))):
            return text, []
        name, numbers = before, [last, *numbers]
    return name, numbers


def _values(numbers: Iterable[str]) -> Iterator[float]:
    """NaN for what is no number."""
    for number in numbers:
        try:
            yield float(number)
        except ValueError:
            yield math.nan
