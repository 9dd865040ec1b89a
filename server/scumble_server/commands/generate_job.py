"""What the arguments of ``scumble generate`` ask for, as a job and its tensors."""

from __future__ import annotations

import argparse
import math
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import DEFAULT_MODEL, GenerateJob, View
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.messages import Capabilities, ModelInfo
from scumble_shared.schema import decode, loads
from scumble_shared.tensor import AnyArray, Digest, digest_of
from scumble_shared.validate import facts_of, validate_job

from ..buffers.convert import read_color, read_depth, read_ids, read_mask, read_normal
from ..buffers.files import refused
from .generate_controls import controls_of
from .generate_references import references_of
from .generate_regions import labels_of, regions_of
from .generate_words import Words, settings_from, words_of

__all__ = ["DEFAULT_FOV", "Made", "made_of"]

DEFAULT_FOV = 40.0
"""Degrees, vertical, of the camera that is assumed when none is given."""

RANDOM_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Made:
    """job: with the words that its own seed chooses. written: with those that were written. notes: what of a
    picture's settings could not be taken over."""

    job: GenerateJob
    written: GenerateJob
    tensors: dict[Digest, AnyArray]
    words: Words
    notes: tuple[str, ...] = ()

    def jobs(self) -> tuple[GenerateJob, ...]:
        """The whole batch: one job, or one for each picture where each has words of its own."""
        if self.job.batch_size == 1 or not self.words.have_choices_in(self.written):
            return (self.job,)
        single = replace(self.written, batch_size=1)
        return tuple(self.words.of(replace(single, seed=self.job.seed + i)) for i in range(self.job.batch_size))


def made_of(arguments: argparse.Namespace, capabilities: Capabilities) -> Made:
    """Raises ScumbleError that names the argument at fault."""
    found, like = settings_from(arguments)
    words = words_of(arguments, like)
    known = {info.id for info in capabilities.models}
    notes = list(found.notes) if found else []
    if like is not None and like.regions:
        notes.append("parts of the picture had prompts of their own, which are left out; say them with --region")
    usual = DEFAULT_MODEL
    if like is not None and arguments.model is None:
        usual = like.model if like.model in known else usual
        if usual != like.model:
            notes.append(f"the picture's model {like.model} isn't here; {usual} is used")
    model = _model(arguments.model or usual, capabilities)
    same = like if like is not None and model.id == like.model else None
    sampler = (same or model).sampler
    if sampler not in (model.samplers or capabilities.samplers):
        notes.append(f"the sampler {sampler} isn't offered here; {model.sampler} is used")
        sampler = model.sampler
    depth = read_depth(arguments.depth, arguments.depth_kind) if arguments.depth else None
    camera = _camera(arguments)
    normal = read_normal(arguments.normal, arguments.normal_space, camera) if arguments.normal else None
    color = read_color(arguments.init_image, "init_image") if arguments.init_image else None
    mask = read_mask(arguments.mask) if arguments.mask else None
    ids = read_ids(arguments.ids) if arguments.ids else None
    buffers = {"depth": depth, "normal": normal, "ids": ids, "init_image": color, "mask": mask}
    size = _common_size({name: array for name, array in buffers.items() if array is not None})
    width, height = arguments.size or size or ((like.width, like.height) if like else (model.width, model.height))
    seed = _given(arguments.seed, like.seed if like else secrets.randbelow(RANDOM_SEEDS))
    tensors = {digest_of(array): array for array in buffers.values() if array is not None}
    references, pictures = references_of(arguments)
    if like is not None and like.references and not references:
        notes.append("it went by reference pictures, which aren't in it; show them again with --reference")
    controls, shown = controls_of(arguments, model, like)
    tensors |= {digest_of(picture): picture for picture in (*pictures, *shown)}
    regions, masks = regions_of(arguments, words.styles)
    tensors |= masks
    digests = {name: None if array is None else digest_of(array) for name, array in buffers.items()}
    view = None
    if size is not None and not (depth is None and normal is None and ids is None):
        camera = camera or _assumed_camera(arguments.fov, *size)
        view = View(
            replace(camera, width=size[0], height=size[1]),
            depth=digests["depth"],
            normal=digests["normal"],
            object_id=digests["ids"],
            labels=labels_of(arguments.kind),
        )
    written = GenerateJob(
        prompt=words.prompt,
        negative_prompt=words.negative_prompt,
        model=model.id,
        width=width,
        height=height,
        batch_size=arguments.count,
        sampler=arguments.sampler or sampler,
        num_inference_steps=_given(arguments.steps, (same or model).num_inference_steps),
        guidance_scale=_given(arguments.guidance_scale, (same or model).guidance_scale),
        seed=seed,
        controls=controls,
        view=view,
        init_image=digests["init_image"],
        mask=digests["mask"],
        quality=arguments.quality,
        memory=arguments.memory,
        tiling=arguments.tiling or (like.tiling if like else ""),
        denoising_strength=_given(arguments.denoising_strength, 1.0),
        loras=like.loras if like and arguments.prompt is None else (),
        references=references,
        regions=regions,
    )
    job = words.of(written)
    facts = {digest: facts_of(array) for digest, array in tensors.items()}
    validate_job(job, DEFAULT_LIMITS, capabilities, facts)
    return Made(job, written, tensors, words, tuple(notes))


def _given(value: float | None, default: float) -> Any:
    return default if value is None else value


def _model(model_id: str, capabilities: Capabilities) -> ModelInfo:
    for model in capabilities.models:
        if model.id == model_id:
            return model
    known = [model.id for model in capabilities.models]
    message = f"there is no model {model_id!r}; known are {', '.join(known) or 'none'}"
    remedy = Remedy("Choose one of them", RemedyAction.CHOOSE_MODEL, known[0] if known else "")
    raise ScumbleError(ErrorCode.MODEL_MISSING, message, field="model", remedy=remedy)


def _common_size(buffers: dict[str, AnyArray]) -> tuple[int, int] | None:
    """Width and height of all buffers, None if there are none. Raises ScumbleError if they differ."""
    sizes = {name: (array.shape[1], array.shape[0]) for name, array in buffers.items()}
    for name, size in sizes.items():
        first = next(iter(sizes))
        if size != sizes[first]:
            message = f"is {size[0]}x{size[1]}, but {first} is {sizes[first][0]}x{sizes[first][1]}"
            raise refused(name, message, Remedy("Give buffers of one size; --size sets that of the result"))
    return next(iter(sizes.values()), None)


def _assumed_camera(fov: float | None, width: int, height: int) -> Camera:
    degrees = DEFAULT_FOV if fov is None else fov
    if not 0.0 < degrees < 180.0:
        raise refused("fov", f"expected degrees between 0 and 180, got {degrees:g}")
    near, far = 0.01, 1000.0
    projection = perspective(math.radians(degrees), width / height, near, far)
    return Camera(look_at((0.0, -1.0, 0.0), (0.0, 0.0, 0.0)), projection, width, height, near, far)


def _camera(arguments: argparse.Namespace) -> Camera | None:
    """The camera given; width and height may be left out, they are those of the buffers."""
    if arguments.camera is None:
        return None
    text = arguments.camera
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise refused("camera", f"{text} can't be read: {error}") from error
    try:
        value = loads(text)
        if isinstance(value, dict):
            value = {"width": 1, "height": 1, **{key: _flat(item) for key, item in value.items()}}
        camera: Camera = decode(Camera, value)
    except ScumbleError as error:
        raise refused(f"camera.{error.info.field}".rstrip("."), error.info.message) from error
    return camera


def _flat(value: object) -> object:
    """A matrix may be written as four rows."""
    if isinstance(value, list) and len(value) == 4 and all(isinstance(row, list) for row in value):
        return [number for row in value for number in row]
    return value
