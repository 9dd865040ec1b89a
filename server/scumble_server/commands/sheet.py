"""``scumble sheet``: one picture varied along one or two axes, each in a file of its own, and all on one sheet."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from scumble_shared.job import GenerateJob
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.sheet_picture import sheet_picture
from scumble_shared.sheets import NOTHING, Axis, cells, parse_axis, variations
from scumble_shared.tensor import AnyArray
from scumble_shared.validate import validate_job

from .generate import add_arguments as add_generate_arguments
from .generate import free_path, with_runner, write_picture
from .generate_job import Made, made_of
from .generate_runner import Runner

__all__ = ["add_arguments", "make_sheet", "run"]

TITLE_LENGTH = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_generate_arguments(parser)
    axes = parser.add_argument_group("what is varied")
    axes.add_argument("--x", type=str, metavar="KIND=VALUES", help="such as steps=8,20,30, seed=1-4, prompt=stone,moss")
    axes.add_argument("--y", type=str, metavar="KIND=VALUES", help="the same, from row to row")
    axes.add_argument("--variations", type=int, default=9, metavar="N", help="without --x: so many seeds (default 9)")


def run(arguments: argparse.Namespace) -> int:
    for path in with_runner(arguments, lambda runner: make_sheet(arguments, runner)):
        print(path)
    return 0


def make_sheet(arguments: argparse.Namespace, runner: Runner) -> list[Path]:
    """The files written, the sheet last. Raises ScumbleError before the first picture if one of them can't be."""
    capabilities = runner.capabilities()
    made = made_of(arguments, capabilities)
    x = parse_axis(arguments.x) if arguments.x else variations(made.job, max(1, arguments.variations))
    y = parse_axis(arguments.y) if arguments.y else NOTHING
    grid = _jobs(made, x, y)
    for job in (job for row in grid for job in row):
        validate_job(job, DEFAULT_LIMITS, capabilities)
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    pictures: list[list[AnyArray | None]] = []
    for row in grid:
        pictures.append([])
        for job in row:
            finished = runner.run(job, made.tensors)
            pictures[-1].append(finished.images[0])
            paths.append(write_picture(finished.images[0], job, finished.provenance, arguments.output))
    title = f"{made.words.prompt[:TITLE_LENGTH]}, {made.job.model}, seed {made.job.seed}"
    sheet = free_path(arguments.output, f"scumble-sheet-{made.job.seed}")
    Image.fromarray(sheet_picture(pictures, x, y, title)).save(sheet)
    return [*paths, sheet]


def _jobs(made: Made, x: Axis, y: Axis) -> list[list[GenerateJob]]:
    """Words are replaced before the seed chooses among them."""
    return [[made.words.of(job) for job in row] for row in cells(made.written, x, y)]
