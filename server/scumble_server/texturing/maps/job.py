"""The maps that a job asks for, whatever kind of job it is: by which estimator, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scumble_shared.job import BUILT_IN_ESTIMATOR, GenerateJob, ProjectJob, TextureJob, texture_names
from scumble_shared.tensor import AnyArray, Digest

from ...service import JobHooks
from ..fuse import FuseOptions, ViewImage
from ..mesh import Mesh
from .earlier import Earlier, load_earlier
from .estimate import Appearance
from .flat import flat_height_range, flat_maps
from .make import Wanted, make_maps

__all__ = ["Teller", "maps_of_pictures", "maps_of_textures"]

GRAZING = 0.06
"""Cosine of the viewing angle from which on a single picture paints."""

DONE = 0.999


@dataclass(frozen=True, slots=True)
class Teller:
    """The estimator that a job asks for. maps: that it tells. appearances: what it says of uint8 H x W x 3 pictures."""

    id: str
    maps: tuple[str, ...]
    appearances: Callable[[Sequence[AnyArray]], list[Appearance]]


def maps_of_textures(
    job: ProjectJob | TextureJob,
    tensors: Mapping[Digest, AnyArray],
    meshes: Sequence[Mesh],
    views: Sequence[ViewImage],
    pictures: Sequence[AnyArray],
    results: Mapping[str, AnyArray],
    teller: Teller | None,
    hooks: JobHooks,
) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Results by name, and facts for the provenance.

    meshes: one for each texture. views: with their pictures, linear. pictures: the same, as they came. results: the
    job's textures and weights. Raises JobCancelled, and ScumbleError as the estimator does.
    """
    hooks.check_cancelled()
    hooks.progress("maps", fraction=DONE)
    appearances = None if teller is None else teller.appearances([_bytes(picture) for picture in pictures])
    names = texture_names(job.meshes)
    alone = isinstance(job, ProjectJob)
    options = FuseOptions(angle_exponent=job.angle_exponent)
    if alone:
        options = replace(options, min_cosine=GRAZING)
    wanted = Wanted(job.maps, job.texture_size, _words(job), job.bit_depth, options, plain=alone)
    textures = {name: results[f"texture/{name}"] for name in names}
    masks = {name: _kept(job, place, name, tensors, results) for place, name in enumerate(names)}
    kept = {name: mask for name, mask in masks.items() if mask is not None}
    painted = {name: tensors[job.keep[place]] for place, name in enumerate(names)} if job.keep else {}
    earlier = Earlier()
    if job.base_maps:
        stays = {name: _stays(job, place, name, tensors, results) for place, name in enumerate(names)}
        earlier = load_earlier(job, tensors, stays)
    check = hooks.check_cancelled
    made = make_maps(wanted, job.meshes, meshes, views, textures, kept, painted, earlier, appearances, check)
    return made.results, _facts(job, teller, made.height_range)


def maps_of_pictures(
    job: GenerateJob, pictures: Sequence[AnyArray], teller: Teller | None, hooks: JobHooks
) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Of the pictures of a generation, as flat surfaces; as :func:`maps_of_textures`."""
    appearances = [Appearance()] * len(pictures) if teller is None else teller.appearances(pictures)
    results: dict[str, AnyArray] = {}
    for index, picture in enumerate(pictures):
        hooks.check_cancelled()
        hooks.progress("maps", index, len(pictures), DONE)
        found = flat_maps(picture, job.maps, job.prompt, job.tiling, appearances[index])
        results.update({f"{kind}/{index}": found[kind] for kind in job.maps})
    whole = flat_height_range(job.prompt)
    return results, _facts(job, teller, {str(index): whole for index in range(len(pictures))})


def _words(job: ProjectJob | TextureJob) -> str:
    views = () if isinstance(job, ProjectJob) else job.views
    return ", ".join([job.prompt, *(view.prompt for view in views if view.prompt)])


def _kept(
    job: ProjectJob | TextureJob,
    place: int,
    name: str,
    tensors: Mapping[Digest, AnyArray],
    results: Mapping[str, AnyArray],
) -> AnyArray | None:
    """Where a texture isn't what views show, uint8 S x S."""
    mask = tensors[job.keep[place]] if job.keep else None
    if isinstance(job, ProjectJob) or not job.base:
        return mask
    unseen: AnyArray = 255 - results[f"weight/{name}"]
    return unseen if mask is None else np.maximum(unseen, mask)


def _stays(
    job: ProjectJob | TextureJob,
    place: int,
    name: str,
    tensors: Mapping[Digest, AnyArray],
    results: Mapping[str, AnyArray],
) -> AnyArray:
    """How far the base stays, uint8 S x S, as the colours have it."""
    if isinstance(job, ProjectJob):
        return 255 - _eight_bits(results[f"texture/{name}"][..., 3])
    there = _eight_bits(tensors[job.base[place]][..., 3])
    stays: AnyArray = np.minimum(255 - results[f"weight/{name}"], there)
    return np.maximum(stays, tensors[job.keep[place]]) if job.keep else stays


def _facts(
    job: GenerateJob | ProjectJob | TextureJob, teller: Teller | None, height_range: Mapping[str, float]
) -> dict[str, object]:
    """As ``scumble_shared.job.MAPS`` has them."""
    told = teller.maps if teller is not None else ()
    estimators = {kind: job.map_estimator if kind in told else BUILT_IN_ESTIMATOR for kind in job.maps}
    return {"maps": {"estimators": estimators, "height_range": dict(height_range)}}


def _bytes(picture: AnyArray) -> AnyArray:
    """uint8 H x W x 3."""
    return _eight_bits(picture[..., :3])


def _eight_bits(numbers: AnyArray) -> AnyArray:
    return numbers if numbers.dtype == np.uint8 else (numbers // 257).astype(np.uint8)
