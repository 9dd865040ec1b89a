"""Prompts for parts of the picture as arguments: ``--region WHERE[@WEIGHT]=PROMPT``, and what objects are."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scumble_shared.job import Label, Region
from scumble_shared.prompts import Style, apply_styles
from scumble_shared.tensor import AnyArray, digest_of

from ..buffers.convert import read_mask

__all__ = ["add_region_arguments", "labels_of", "regions_of"]

IDS = re.compile(r"\d+(,\d+)*")
WEIGHT = re.compile(r"@(\d+\.?\d*|\.\d+)$")


@dataclass(frozen=True, slots=True)
class _Said:
    """where: ids, or a file."""

    where: tuple[int, ...] | Path
    text: str
    weight: float = 1.0


def add_region_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("parts with prompts of their own")
    group.add_argument(
        "--ids",
        type=Path,
        metavar="FILE",
        help="of objects, 0 is background: .npy, .exr or a grey .png of 8 or 16 bits",
    )
    group.add_argument(
        "--region",
        action="append",
        default=[],
        type=_region,
        metavar="WHERE[@WEIGHT]=PROMPT",
        help="WHERE: ids such as 1,4 or a picture, white where it acts; WEIGHT: 0 to 1 (default 1); several times for "
        "several",
    )
    group.add_argument(
        "--kind",
        action="append",
        default=[],
        type=_kind,
        metavar="IDS=KIND",
        help="what objects are, for segmentation: one of ADE20K's kinds such as chair",
    )


def regions_of(
    arguments: argparse.Namespace, styles: Sequence[Style]
) -> tuple[tuple[Region, ...], dict[str, AnyArray]]:
    """In order, with the styles that the prompt has, and their masks. Raises ScumbleError for files that are none."""
    regions, masks = [], {}
    for index, said in enumerate(arguments.region):
        prompt = apply_styles(said.text, "", styles)[0]
        if isinstance(said.where, tuple):
            regions.append(Region(prompt, objects=said.where, weight=said.weight))
            continue
        mask = read_mask(said.where, f"region[{index}]")
        masks[digest_of(mask)] = mask
        regions.append(Region(prompt, mask=digest_of(mask), weight=said.weight))
    return tuple(regions), masks


def labels_of(said: Iterable[_Said]) -> tuple[Label, ...]:
    """For each id one; of what isn't known the job's own check will tell."""
    return tuple(Label(number, one.text) for one in said if isinstance(one.where, tuple) for number in one.where)


def _region(text: str) -> _Said:
    """A file's name may have signs of equality, too: the first that leaves a file or ids before it counts."""
    parts = text.split("=")
    for count in range(1, len(parts)):
        where, prompt = "=".join(parts[:count]), "=".join(parts[count:])
        found = WEIGHT.search(where)
        for name, weight in ((where, 1.0), (where[: found.start()], float(found[1])) if found else (where, 1.0)):
            if IDS.fullmatch(name):
                return _Said(_ids(name), prompt, weight)
            if Path(name).is_file():
                return _Said(Path(name), prompt, weight)
    raise argparse.ArgumentTypeError(f"expected ids or a file, = and a prompt, such as 1,4=gold; got {text!r}")


def _kind(text: str) -> _Said:
    ids, _, kind = text.partition("=")
    if not IDS.fullmatch(ids) or not kind:
        raise argparse.ArgumentTypeError(f"expected ids, = and a kind, such as 1,4=chair; got {text!r}")
    return _Said(_ids(ids), kind)


def _ids(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
