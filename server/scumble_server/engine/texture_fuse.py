"""The views' pictures on to the meshes: fused, over what was there, and in the form of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from scumble_shared.job import TextureJob
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..service import JobHooks
from ..texturing.bake import Texture, bake_parts
from ..texturing.base import Base, opacity, painted
from ..texturing.color import linear_light
from ..texturing.dilate import nearest_filled, padding
from ..texturing.fuse import FuseOptions, ViewImage
from ..texturing.halo import without_halos
from ..texturing.mesh import Mesh
from ..texturing.views import render_geometry
from .texture_generate import GENERATED
from .texture_views import WorkView

__all__ = ["Finished", "fused", "view_image", "written"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A texture before it is written. share: float32 (S * S,), how far it covers the base; None without one. seen:
    float32 (S * S,), how well views saw what is painted."""

    mesh: Mesh
    texture: Texture
    base: Base | None
    share: Tensor | None
    seen: Tensor

    def composite(self) -> Tensor:
        """With the base, float32 (3, S * S), linear."""
        if self.base is None or self.share is None:
            return self.texture.colour
        below = linear_light(self.base.image[..., :3], self.share.device).view(-1, 3).T
        return below + (self.texture.colour - below) * self.share


def view_image(meshes: Sequence[Mesh], view: WorkView, picture: AnyArray) -> ViewImage:
    """A view's picture, uint8 or uint16, with its geometry, and without what isn't the meshes'."""
    rows, columns = picture.shape[:2]
    # Generated pictures miss silhouettes by a pixel or two, by more in larger pictures: keep clear of them.
    pixel = max(1, round(min(rows, columns) / 512.0))
    geometry = render_geometry(meshes, view.camera, image_size=(rows, columns), margin=pixel, feather=3 * pixel)
    colours = linear_light(picture, meshes[0].device).permute(2, 0, 1)[None].contiguous()
    return ViewImage(geometry, without_halos(colours, geometry))


def fused(
    job: TextureJob,
    meshes: Sequence[Mesh],
    bases: Sequence[Base | None],
    images: Sequence[ViewImage],
    hooks: JobHooks,
) -> list[Finished]:
    """One for each mesh."""
    options = FuseOptions(angle_exponent=job.angle_exponent)
    found: list[Finished] = []
    for _, group in groupby(zip(meshes, bases, strict=True), key=lambda both: both[0].name):
        both = list(group)
        done = len(found)
        hooks.check_cancelled()
        hooks.progress("projecting", done, len(meshes), GENERATED + (1.0 - GENERATED) * done / len(meshes))
        baked = bake_parts([mesh for mesh, _ in both], images, job.texture_size, options, check=hooks.check_cancelled)
        found += [_finished(mesh, texture, base) for (mesh, base), texture in zip(both, baked, strict=True)]
    return found


def _finished(mesh: Mesh, texture: Texture, base: Base | None) -> Finished:
    """The new texture where views saw it, the base where they didn't and it has something, or where it is kept."""
    seen = texture.seen.flatten().float() / 255.0
    if base is None:
        return Finished(mesh, texture, None, None, seen)
    texels = texture.texels
    new = seen.clone()
    target, source = nearest_filled(texels.covered, padding(texels.size), repeats=texels.repeats)
    new[target] = new[source]
    there = torch.from_numpy(base.image[..., 3].astype(np.float32).ravel()) / np.iinfo(base.image.dtype).max
    share = torch.maximum(new, 1.0 - there.to(new.device))
    free = base.freedom(texels)
    if free is not None:
        share, seen = share * free, seen * free
    return Finished(mesh, texture, base, share, seen)


def written(job: TextureJob, finished: Sequence[Finished]) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Textures and weights by result name, and what is known of each texture."""
    results: dict[str, AnyArray] = {}
    facts: dict[str, object] = {}
    for item in finished:
        name, full = item.mesh.texture_name, torch.ones_like(item.seen)
        share = full if item.share is None else item.share
        colour = painted(item.texture.colour, share, item.base, job.bit_depth)
        results[f"texture/{name}"] = np.dstack([colour, opacity(full, job.bit_depth)])
        results[f"weight/{name}"] = opacity(item.seen, 8)
        facts[name] = _facts_of(item.texture)
    return results, facts


def _facts_of(texture: Texture) -> Mapping[str, object]:
    return {
        "coverage": round(texture.coverage, 4),
        "skipped_triangles": texture.skipped,
        "overlapping": texture.overlapping,
    }
