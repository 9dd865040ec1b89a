"""``scumble build-addon``: the Blender extension as a zip, the same bytes for the same sources."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..installation import remember_installation
from ..packaging.extension import build_extension

__all__ = ["add_arguments", "run"]

REPOSITORY = Path(__file__).resolve().parents[3]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=Path, default=REPOSITORY / "blender_addon", help="the extension's sources")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist", help="folder for the zip")


def run(arguments: argparse.Namespace) -> int:
    remember_installation()
    print(build_extension(arguments.source, arguments.output))
    return 0
