"""``scumble upscale``: pictures in, larger PNG files out; no Blender needed."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scumble_shared import __version__
from scumble_shared.job import (
    DEFAULT_MODEL,
    MEMORIES,
    SAMPLERS,
    TILINGS,
    UPSCALE_FACTORS,
    UPSCALE_METHODS,
    Control,
    UpscaleJob,
)
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.messages import Capabilities
from scumble_shared.schema import encode
from scumble_shared.tensor import AnyArray, digest_of
from scumble_shared.validate import facts_of, validate_job

from ..buffers.files import FORMATS, check_size, read_npy, refused
from ..metadata.png import deep_png_bytes
from .generate import add_where, free_path, with_runner
from .generate_runner import Runner

__all__ = ["add_arguments", "run", "upscale"]

DEFAULTS = UpscaleJob("")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", type=Path, metavar="FILE", help=".png, .jpg, .webp; .npy for 16 bits")
    parser.add_argument("--factor", type=int, choices=UPSCALE_FACTORS, default=DEFAULTS.factor)
    parser.add_argument(
        "--method",
        choices=UPSCALE_METHODS,
        help="diffusion: paint detail anew (default); model: --upscaler alone; lanczos: resample",
    )
    parser.add_argument("--upscaler", default="", metavar="ID", help="a network of the library, see `scumble models`")
    parser.add_argument("--tiling", choices=TILINGS[1:], default="", help="the picture repeats in these directions")
    paint = parser.add_argument_group("detail that is painted anew")
    paint.add_argument("--prompt", default="")
    paint.add_argument("--negative-prompt", default="")
    paint.add_argument("--model", default=DEFAULT_MODEL, metavar="ID", help="see `scumble models` (default: built in)")
    paint.add_argument("--steps", type=int, help="default: the model's")
    paint.add_argument("--guidance-scale", type=float, metavar="G", help="default: the model's")
    paint.add_argument("--sampler", choices=SAMPLERS, help="default: the model's")
    paint.add_argument("--seed", type=int, help="default: a random one, told in the file")
    paint.add_argument(
        "--denoising-strength", type=float, default=DEFAULTS.denoising_strength, metavar="S", help="0 nothing, 1 all"
    )
    paint.add_argument("--tile-size", type=int, default=DEFAULTS.tile_size, metavar="PIXELS")
    paint.add_argument("--tile-overlap", type=int, default=DEFAULTS.tile_overlap, metavar="PIXELS")
    paint.add_argument("--memory", choices=MEMORIES, default=DEFAULTS.memory, help="what is done to need less of it")
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    for path in with_runner(arguments, lambda runner: upscale(arguments, runner)):
        print(path)
    return 0


def upscale(arguments: argparse.Namespace, runner: Runner) -> list[Path]:
    """Each picture made larger; returns the files written. Raises ScumbleError."""
    written = []
    for path in arguments.pictures:
        image = _read(path)
        digest = digest_of(image)
        job = _job(arguments, digest, runner.capabilities())
        validate_job(job, DEFAULT_LIMITS, runner.capabilities(), {digest: facts_of(image)})
        finished = runner.run(job, {digest: image})
        arguments.output.mkdir(parents=True, exist_ok=True)
        target = free_path(arguments.output, f"{path.stem}-{job.factor}x")
        target.write_bytes(deep_png_bytes(finished.images[0], _record(job, finished.provenance)))
        written.append(target)
    return written


def _job(arguments: argparse.Namespace, image: str, capabilities: Capabilities) -> UpscaleJob:
    """What isn't said is the model's."""
    info = next((model for model in capabilities.models if model.id == arguments.model), None)
    method = arguments.method or ("model" if arguments.upscaler else "diffusion")
    tile = info is not None and "tile" in info.control_kinds and method == "diffusion"
    return UpscaleJob(
        image=image,
        factor=arguments.factor,
        method=method,
        upscaler=arguments.upscaler,
        prompt=arguments.prompt,
        negative_prompt=arguments.negative_prompt,
        model=arguments.model,
        sampler=arguments.sampler or (info.sampler if info else DEFAULTS.sampler),
        num_inference_steps=arguments.steps or (info.num_inference_steps if info else DEFAULTS.num_inference_steps),
        guidance_scale=_said(arguments.guidance_scale, info.guidance_scale if info else DEFAULTS.guidance_scale),
        seed=arguments.seed if arguments.seed is not None else secrets.randbelow(2**32),
        denoising_strength=arguments.denoising_strength,
        tile_size=arguments.tile_size,
        tile_overlap=arguments.tile_overlap,
        controls=(Control("tile"),) if tile else (),
        tiling=arguments.tiling,
        memory=arguments.memory,
    )


def _said(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _read(path: Path) -> AnyArray:
    """uint8 or uint16 H x W x 3 or 4. Raises ScumbleError."""
    if path.suffix.lower() == ".npy":
        array = read_npy(path, "pictures")
        if array.dtype not in (np.uint8, np.uint16) or array.ndim != 3 or array.shape[2] not in (3, 4):
            raise refused("pictures", f"{path.name} holds {array.dtype} of {array.shape}, expected H x W x 3 or 4")
        return array
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_size(*image.size, path, "pictures")
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except UnidentifiedImageError as error:
        raise refused("pictures", f"{path.name} is not a {', '.join(FORMATS)} picture") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise refused("pictures", f"{path.name} can't be read: {error}") from error


def _record(job: UpscaleJob, provenance: str) -> str:
    """As pictures have it that were generated, with this kind of job."""
    content = {"format": 1, "scumble": __version__, "index": 0, "job": encode(job)}
    return json.dumps({**content, "provenance": json.loads(provenance)}, separators=(",", ":"))
