"""Reference pictures as arguments: ``--reference FILE[:WEIGHT][:USE]``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from scumble_shared.job import REFERENCE_USES, Reference
from scumble_shared.tensor import AnyArray, digest_of

from ..buffers.convert import read_color

__all__ = ["add_reference_arguments", "references_of"]

DEFAULT_WEIGHT = 0.6
"""So that the prompt has a say beside a picture."""


@dataclass(frozen=True, slots=True)
class _Said:
    path: Path
    weight: float = DEFAULT_WEIGHT
    use: str = "all"


def add_reference_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures to go by")
    group.add_argument(
        "--reference",
        action="append",
        default=[],
        type=_said,
        metavar="FILE[:WEIGHT][:USE]",
        help=f"several times for several; weight 0 to 10 (default {DEFAULT_WEIGHT:g}), use {', '.join(REFERENCE_USES)}",
    )
    group.add_argument("--adapter", default="", metavar="ID", help="IP-Adapter to use (default: the model's)")


def references_of(arguments: argparse.Namespace) -> tuple[tuple[Reference, ...], list[AnyArray]]:
    """In order, and their pictures. Raises ScumbleError for files that are no pictures."""
    pictures = [read_color(said.path, f"reference[{index}]") for index, said in enumerate(arguments.reference)]
    references = tuple(
        Reference(digest_of(picture), arguments.adapter, said.weight, said.use)
        for said, picture in zip(arguments.reference, pictures, strict=True)
    )
    return references, pictures


def _said(text: str) -> _Said:
    """What follows the file is read from the end, since a file's name may have colons, too."""
    said = _Said(Path(text))
    while not said.path.exists():
        name, colon, last = str(said.path).rpartition(":")
        if not colon:
            break
        if last in REFERENCE_USES:
            said = _Said(Path(name), said.weight, last)
        elif (weight := _number(last)) is not None:
            said = _Said(Path(name), weight, said.use)
        else:
            break
    return said


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
