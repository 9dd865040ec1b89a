"""The ``scumble`` command: one module per subcommand, imported only when it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from scumble_shared import __version__
from scumble_shared.errors import ScumbleError

__all__ = ["main"]

COMMANDS = {
    "serve": "run the server on this machine",
    "demo": "make pictures of a real Blender scene with the built-in model",
    "models": "list the models the server can use",
    "download": "fetch, import, verify and delete models",
    "generate": "make images from depth and normal files, without Blender",
    "upscale": "make pictures larger: by resampling, by a network, or with detail painted anew",
    "sheet": "make comparison sheets: seeds, steps, words, ... side by side",
    "doctor": "say what device, memory, models and problems there are",
    "build-addon": "build the Blender extension zip",
}
"""Subcommand -> help. ``commands/<name>.py`` has ``add_arguments(parser)`` and ``run(arguments) -> int``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 a typed error was printed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="scumble", description="Diffusion over real geometry, for Blender.")
    parser.add_argument("--version", action="version", version=f"scumble {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, description in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=description, description=description)
        if name == chosen:
            module = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except ScumbleError as error:
        print(f"scumble: {error}", file=sys.stderr)
        if error.info.remedy:
            print(f"  remedy: {error.info.remedy.label}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
