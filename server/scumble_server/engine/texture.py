"""A TextureJob from its values to its textures: look round, generate, fuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TEXTURE_METHODS, Label, TextureJob
from scumble_shared.schema import encode as to_json
from scumble_shared.tensor import AnyArray, Digest

from ..service import JobHooks
from ..texturing.base import Base, load_bases
from ..texturing.fuse import ViewImage
from ..texturing.maps.job import Teller, maps_of_textures
from ..texturing.mesh import Mesh
from .extensions.controls import ActiveControl
from .family import LoadedControlNet, LoadedModel
from .generate import Timings
from .pixels import eight_bits
from .progress import Share, shares
from .regions import regions_of_views
from .texture_fuse import Finished, fused, view_image, written
from .texture_generate import Painting, paint_synchronised
from .texture_refine import larger, rendered, repainted
from .texture_sequential import paint_sequentially
from .texture_views import WorkView, control_images, paintable_meshes, work_views

__all__ = ["Loaded", "texture"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The job's model and its ControlNets, in the order of the job's controls."""

    model: LoadedModel
    controlnets: Sequence[LoadedControlNet]


def texture(
    job: TextureJob,
    tensors: Mapping[Digest, AnyArray],
    load: Callable[[], Loaded],
    device: torch.device,
    hooks: JobHooks,
    timings: Timings,
    teller: Teller | None = None,
) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """The job's results and facts for its provenance, as documented there.

    load: called only if there is something to generate. device: for geometry. teller: who makes maps, if it isn't the
    built-in estimator. Raises ScumbleError SCENE for meshes that can't be painted on or seen, INVALID_FIELD for tensors
    that aren't what they should be, INVALID_RESULT, and JobCancelled.
    """
    if job.method not in TEXTURE_METHODS:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"no method is called {job.method[:80]!r}; there are {', '.join(TEXTURE_METHODS)}",
            field="job.method",
        )
    with timings.stage("placing"):
        hooks.progress("placing", fraction=0.0)
        meshes = paintable_meshes(job, tensors, device)
        bases = load_bases(job, tensors, device, len(meshes))
    loaded = None
    if not job.views or job.extra_views or any(view.image is None for view in job.views):
        with timings.stage("loading"):
            loaded = load()
    with timings.stage("placing"):
        hooks.check_cancelled()
        views, seen = work_views(job, meshes, tensors, loaded.model.multiple if loaded else 1)
    facts: dict[str, object] = {
        "views": [
            {"camera": to_json(v.camera), "words": v.words, "locked": v.is_locked, "extra": v.is_extra} for v in views
        ],
        "coverage": round(seen, 4),
    }
    work = _Work(job, meshes, bases, views, hooks, timings)
    pictures = {index: view.image for index, view in enumerate(views) if view.image is not None}
    first, second = work.turns()
    if loaded is not None and len(pictures) < len(views):
        last = _generated(work, loaded, pictures, first, facts)
    else:
        last = first
    images, finished = _fused(work, pictures, last)
    if loaded is not None and job.refine_strength > 0.0 and any(not view.is_locked for view in views):
        _refined(work, loaded, pictures, finished, second, facts)
        images, finished = _fused(work, pictures, second)
    with timings.stage("fusing"):
        textures, facts["meshes"] = written(job, finished)
    if job.maps:
        with timings.stage("maps"):
            those = [pictures[index] for index in range(len(views))]
            maps, told = maps_of_textures(job, tensors, meshes, images, those, textures, teller, hooks)
            textures |= maps
            facts |= told
    return {**{f"view/{index}": eight_bits(pictures[index]) for index in range(len(views))}, **textures}, facts


@dataclass(frozen=True, slots=True)
class _Work:
    """What all stages need."""

    job: TextureJob
    meshes: Sequence[Mesh]
    bases: Sequence[Base | None]
    views: Sequence[WorkView]
    hooks: JobHooks
    timings: Timings

    def turns(self) -> list[Share]:
        """Up to the first texture, and what refining is of the whole."""
        job = self.job
        refining = job.refine_strength * job.refine_scale**2 if job.refine_strength > 0.0 else 0.0
        return shares(self.hooks, 0.0, 1.0, [1.0, refining])


def _generated(
    work: _Work, loaded: Loaded, pictures: dict[int, AnyArray], turn: Share, facts: dict[str, object]
) -> Share:
    """The pictures that aren't there, first those of the job's own views, then those of what these leave unseen.

    Adds to ``pictures`` and ``facts``; returns the part of the whole that it was done in.
    """
    painting = _painting(work, loaded, work.views, turn)
    extra = [index for index, view in enumerate(work.views) if view.is_extra]
    own = [index for index in range(len(work.views)) if index not in extra]
    free = [index for index in own if index not in pictures]
    parts = shares(turn, 0.0, 1.0, [float(len(free)), float(len(extra))])
    with work.timings.stage("generating"):
        if free:
            paint = paint_synchronised if work.job.method == "synchronised" else paint_sequentially
            made, how = paint(painting.part(own, parts[0]))
            pictures.update(made)
            facts.update(how)
        if extra:
            known = [
                view if view.is_extra else replace(view, image=eight_bits(pictures[index]))
                for index, view in enumerate(work.views)
            ]
            made, _ = paint_sequentially(replace(painting, views=known, hooks=parts[1]), better=math.inf)
            pictures.update(made)
    return parts[1] if extra else parts[0]


def _refined(
    work: _Work,
    loaded: Loaded,
    pictures: dict[int, AnyArray],
    finished: Sequence[Finished],
    turn: Share,
    facts: dict[str, object],
) -> None:
    """The pictures painted over once more; changes ``pictures``."""
    hooks = replace(turn, stages=(("denoising", "refining"),))
    with work.timings.stage("refining"):
        views = [larger(work.job, view, loaded.model.multiple) for view in work.views]
        painting = _painting(work, loaded, views, hooks)
        made, how = repainted(painting, rendered(views, pictures, finished, hooks))
        pictures.update(made)
        facts["refined_at_once"] = how["views_at_once"]


def _painting(work: _Work, loaded: Loaded, views: Sequence[WorkView], hooks: JobHooks) -> Painting:
    """With what ControlNets are shown of the views, and where the regions are in them."""
    with work.timings.stage("conditioning"):
        hooks.check_cancelled()
        hooks.progress("conditioning", fraction=0.0)
        labels = [Label(mesh.object_id, mesh.kind) for mesh in work.job.meshes if mesh.kind]
        images = control_images(work.job.controls, work.meshes, views, work.job.poses, work.bases, labels)
        controls = [
            ActiveControl(net, image, control.strength, control.start, control.end, control.kind)
            for net, image, control in zip(loaded.controlnets, images, work.job.controls, strict=True)
        ]
        words = [view.words if work.job.view_words else "" for view in views]
        regional = regions_of_views(work.job, work.meshes, [view.camera for view in views], words)
    hooks.check_cancelled()
    return Painting(work.job, loaded.model, work.meshes, views, controls, hooks, regional)


def _fused(work: _Work, pictures: Mapping[int, AnyArray], turn: Share) -> tuple[list[ViewImage], list[Finished]]:
    """The views' pictures with their geometry, and the textures that they make."""
    with work.timings.stage("fusing"):
        images = [view_image(work.meshes, view, pictures[index]) for index, view in enumerate(work.views)]
        return images, fused(work.job, work.meshes, work.bases, images, turn)
