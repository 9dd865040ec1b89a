"""``scumble generate``: depth, normals and pictures in, PNG files with provenance out; no Blender needed."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from scumble_shared.job import MEMORIES, QUALITIES, SAMPLERS, TILINGS, GenerateJob
from scumble_shared.tensor import AnyArray

from ..buffers.convert import DEPTH_KINDS, NORMAL_SPACES
from ..buffers.files import refused
from ..metadata import png_bytes
from ..models.scan import default_model_dirs
from ..workers.spec import engine_spec
from .generate_controls import add_control_arguments
from .generate_job import DEFAULT_FOV, made_of
from .generate_references import add_reference_arguments
from .generate_regions import add_region_arguments
from .generate_runner import Finished, LocalRunner, Runner, remote_runner
from .generate_words import add_word_arguments

__all__ = ["add_arguments", "add_where", "free_path", "generate", "run", "with_runner", "write_picture"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_word_arguments(parser)
    what = parser.add_argument_group("the picture")
    what.add_argument("--model", metavar="ID", help="see `scumble models` (default: built in)")
    what.add_argument("--size", type=_size, metavar="WxH", help="default: that of the buffers, else the model's")
    what.add_argument("--steps", type=int, help="default: the model's")
    what.add_argument("--guidance-scale", type=float, metavar="G", help="default: the model's")
    what.add_argument("--sampler", choices=SAMPLERS, help="default: the model's")
    what.add_argument("--seed", type=int, help="default: a random one, told in the file")
    what.add_argument("--quality", choices=QUALITIES, default="exact", help="others are quicker and nearly the same")
    what.add_argument("--memory", choices=MEMORIES, default="automatic", help="what is done to need less of it")
    what.add_argument("--tiling", choices=TILINGS[1:], default="", help="go on where it began: in these directions")
    what.add_argument("--count", type=int, default=1, help="pictures, with seeds SEED, SEED+1, ... (default 1)")
    _add_geometry(parser.add_argument_group("geometry"))
    start = parser.add_argument_group("a picture to start from")
    start.add_argument("--init-image", type=Path, metavar="FILE")
    start.add_argument("--mask", type=Path, metavar="FILE", help="white is repainted")
    start.add_argument("--denoising-strength", type=float, metavar="S", help="0 keeps the picture, 1 ignores it")
    add_region_arguments(parser)
    add_reference_arguments(parser)
    add_where(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    """Where pictures go, and where they are made."""
    where = parser.add_argument_group("where")
    where.add_argument(
        "--output", type=Path, default=Path(), metavar="DIR", help="folder of the PNG files (default: .)"
    )
    where.add_argument("--server", metavar="URL", help="work there instead of in this process: ws://... or wss://...")
    where.add_argument("--token-file", type=Path, metavar="FILE", help="its token; found by itself on this machine")
    where.add_argument("--fingerprint", default="", help="SHA-256 of its certificate, if it is self-signed")
    where.add_argument("--models", type=Path, action="append", default=[], metavar="DIR", help="more model folders")
    where.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default auto)")


def _add_geometry(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--depth", type=Path, metavar="FILE", help=".exr or .npy; .png with --depth-kind inverse")
    group.add_argument(
        "--depth-kind",
        choices=DEPTH_KINDS,
        default="planar",
        help="planar: distance along the viewing axis, as Blender's Depth pass (default); inverse: near is large",
    )
    group.add_argument("--normal", type=Path, metavar="FILE", help=".exr, .npy or .png")
    group.add_argument(
        "--normal-space",
        choices=NORMAL_SPACES,
        default="view",
        help="view: x right, y up, z to the viewer (default); world: as Blender's Normal pass, needs --camera",
    )
    group.add_argument(
        "--camera",
        metavar="JSON",
        help="file or text: {view: 16 numbers, world to view, row by row; projection: 16, OpenGL; near, far}",
    )
    group.add_argument("--fov", type=float, help=f"vertical, degrees, without --camera (default {DEFAULT_FOV:g})")
    add_control_arguments(group)


def run(arguments: argparse.Namespace) -> int:
    for path in with_runner(arguments, lambda runner: generate(arguments, runner)):
        print(path)
    return 0


def with_runner(arguments: argparse.Namespace, work: Callable[[Runner], list[Path]]) -> list[Path]:
    """``work`` done where the arguments say."""
    if arguments.server:
        with remote_runner(arguments.server, _token(arguments.token_file), arguments.fingerprint) as runner:
            return work(runner)
    folders = (*default_model_dirs(), *arguments.models)
    return work(LocalRunner(engine_spec(folders, arguments.device).build()))


def generate(arguments: argparse.Namespace, runner: Runner) -> list[Path]:
    """Have the job done that the arguments describe; returns the files written. Raises ScumbleError.

    Where the seed chooses among words, each picture of a batch has a job of its own.
    """
    made = made_of(arguments, runner.capabilities())
    for note in made.notes:
        print(f"scumble: {note}", file=sys.stderr)
    return [path for job in made.jobs() for path in _write(runner.run(job, made.tensors), job, arguments.output)]


def _token(path: Path | None) -> str:
    """From a file: what is on a command line can be read by every user of the machine."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise refused("token_file", f"{path} can't be read: {error}") from error


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 768x512, got {text!r}")
    return int(width), int(height)


def _write(finished: Finished, job: GenerateJob, folder: Path) -> list[Path]:
    """Never over a file that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    images = enumerate(finished.images)
    return [write_picture(image, job, finished.provenance, folder, index) for index, image in images]


def write_picture(image: AnyArray, job: GenerateJob, provenance: str, folder: Path, index: int = 0) -> Path:
    """Picture ``index`` of a job as a file that says how it was made; returns its path."""
    path = free_path(folder, f"scumble-{job.seed + index}")
    path.write_bytes(png_bytes(image, job, provenance, index=index))
    return path


def free_path(folder: Path, stem: str) -> Path:
    """Of a PNG file that isn't there yet."""
    for number in itertools.count(1):
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        if not path.exists():
            return path
    raise AssertionError("counts for ever")
