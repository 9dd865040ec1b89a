"""A TextureJob from its values to its textures: look round, generate, fuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TEXTURE_METHODS, TextureJob
from scumble_shared.schema import encode as to_json
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ..service import JobHooks
from ..texturing.bake import Texture, bake_parts
from ..texturing.color import linear_to_srgb, srgb_to_linear
from ..texturing.dilate import nearest_filled, padding
from ..texturing.fuse import FuseOptions, ViewImage
from ..texturing.halo import without_halos
from ..texturing.maps.job import Teller, maps_of_textures
from ..texturing.mesh import Mesh, to_tensor
from ..texturing.raster import rasterise
from ..texturing.views import render_geometry
from .extensions.controls import ActiveControl
from .family import LoadedControlNet, LoadedModel
from .generate import Timings
from .texture_generate import ENCODED, GENERATED, Painting, paint_synchronised
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
    built-in estimator. Raises ScumbleError SCENE for meshes
    that can't be painted on or seen, INVALID_FIELD for tensors that aren't what they should be, INVALID_RESULT, and
    JobCancelled.
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
        bases = _bases(job, tensors, device, len(meshes))
    loaded = None
    if not job.views or any(view.image is None for view in job.views):
        with timings.stage("loading"):
            loaded = load()
    with timings.stage("placing"):
        hooks.check_cancelled()
        views, seen = work_views(job, meshes, tensors, loaded.model.multiple if loaded else 1)
    facts: dict[str, object] = {
        "views": [{"camera": to_json(v.camera), "words": v.words, "locked": v.is_locked} for v in views],
        "coverage": round(seen, 4),
    }
    pictures = {index: view.image for index, view in enumerate(views) if view.image is not None}
    if loaded is not None:
        made, how = _generated(job, loaded, meshes, views, hooks, timings)
        pictures.update(made)
        facts.update(how)
    with timings.stage("fusing"):
        results: dict[str, AnyArray] = {f"view/{index}": pictures[index] for index in range(len(views))}
        images = [_view_image(meshes, view, pictures[index]) for index, view in enumerate(views)]
        textures, found = _fused(job, meshes, bases, images, hooks)
    facts["meshes"] = found
    if job.maps:
        with timings.stage("maps"):
            those = [pictures[index] for index in range(len(views))]
            maps, told = maps_of_textures(job, tensors, meshes, images, those, textures, teller, hooks)
            textures |= maps
            facts |= told
    return {**results, **textures}, facts


def _generated(
    job: TextureJob,
    loaded: Loaded,
    meshes: Sequence[Mesh],
    views: Sequence[WorkView],
    hooks: JobHooks,
    timings: Timings,
) -> tuple[dict[int, AnyArray], dict[str, object]]:
    with timings.stage("conditioning"):
        hooks.check_cancelled()
        hooks.progress("conditioning", fraction=ENCODED / 2)
        images = control_images(job.controls, meshes, views)
        controls = [
            ActiveControl(net, image, control.strength, control.start, control.end, control.kind)
            for net, image, control in zip(loaded.controlnets, images, job.controls, strict=True)
        ]
    hooks.check_cancelled()
    with timings.stage("generating"):
        paint = paint_synchronised if job.method == "synchronised" else paint_sequentially
        return paint(Painting(job, loaded.model, meshes, views, controls, hooks))


# --- onto the meshes --------------------------------------------------------------------------------


def _bases(
    job: TextureJob, tensors: Mapping[Digest, AnyArray], device: torch.device, count: int
) -> list[Tensor | None]:
    if not job.base:
        return [None] * count
    if len(job.base) != count:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"{count} textures need as many bases", field="job.base")
    expected = (job.texture_size, job.texture_size, 4)
    for index, digest in enumerate(job.base):
        array = tensors[digest]
        if array.shape != expected or array.dtype != np.uint8:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"expected uint8 {expected}, got {array.dtype.name} {array.shape}",
                field=f"job.base[{index}]",
            )
    return [to_tensor(tensors[digest], device) for digest in job.base]


def _fused(
    job: TextureJob,
    meshes: Sequence[Mesh],
    bases: Sequence[Tensor | None],
    images: Sequence[ViewImage],
    hooks: JobHooks,
) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Textures and weights by result name, and what is known of each texture."""
    options = FuseOptions(angle_exponent=job.angle_exponent)
    results: dict[str, AnyArray] = {}
    facts: dict[str, object] = {}
    for _, group in groupby(zip(meshes, bases, strict=True), key=lambda both: both[0].name):
        both = list(group)
        done = len(facts)
        hooks.check_cancelled()
        hooks.progress("projecting", done, len(meshes), GENERATED + (1.0 - GENERATED) * done / len(meshes))
        baked = bake_parts([mesh for mesh, _ in both], images, job.texture_size, options, check=hooks.check_cancelled)
        for (mesh, base), texture in zip(both, baked, strict=True):
            colour = texture.image if base is None else _over(texture, base, mesh)
            opaque = torch.full_like(colour[..., :1], 255)
            results[f"texture/{mesh.texture_name}"] = torch.cat([colour, opaque], 2).cpu().numpy()
            results[f"weight/{mesh.texture_name}"] = texture.seen.cpu().numpy()
            facts[mesh.texture_name] = {
                "coverage": round(texture.coverage, 4),
                "skipped_triangles": texture.skipped,
                "overlapping": texture.overlapping,
            }
    return results, facts


def _view_image(meshes: Sequence[Mesh], view: WorkView, picture: AnyArray) -> ViewImage:
    rows, columns = picture.shape[:2]
    # Generated pictures miss silhouettes by a pixel or two, by more in larger pictures: keep clear of them.
    pixel = max(1, round(min(rows, columns) / 512.0))
    geometry = render_geometry(meshes, view.camera, image_size=(rows, columns), margin=pixel, feather=3 * pixel)
    colours = srgb_to_linear(to_tensor(picture, meshes[0].device)).permute(2, 0, 1)[None].contiguous()
    return ViewImage(geometry, without_halos(colours, geometry))


def _over(baked: Texture, base: Tensor, mesh: Mesh) -> Tensor:
    """The new texture where views saw it, the base where they didn't and it has something; uint8 S x S x 3."""
    size = len(base)
    new = baked.seen.flatten().float() / 255.0
    texels = rasterise(mesh, size)
    target, source = nearest_filled(texels.covered, padding(size), repeats=texels.repeats)
    new[target] = new[source]
    share = torch.maximum(new, 1.0 - base[..., 3].flatten().float() / 255.0)[:, None]
    below = base[..., :3].reshape(-1, 3)
    mixed = srgb_to_linear(baked.image.view(-1, 3)) * share + srgb_to_linear(below) * (1.0 - share)
    colour = torch.where(share > 0.0, linear_to_srgb(mixed), below)
    return colour.view(size, size, 3)
