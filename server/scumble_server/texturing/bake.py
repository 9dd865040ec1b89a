"""Views in, finished texture out: rasterise, fuse, fill, pad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .color import linear_to_srgb
from .dilate import nearest_filled, padding
from .fill import fill_unseen
from .fuse import DEFAULT, Fused, FuseOptions, ViewImage, fuse, match_views
from .mesh import Mesh
from .raster import TexelMap, rasterise
from .surface import Surface

__all__ = ["Texture", "bake", "bake_parts"]


@dataclass(frozen=True, slots=True)
class Texture:
    """texels: where it lies. colour: float32 (3, S * S), linear, top row first, defined everywhere.

    seen: uint8 (S, S), 255 where views showed the texel, 0 where it was filled in or lies off the mesh.
    coverage: share of the texels on the mesh that were seen. skipped: triangles left out for unusable UVs. overlapping:
    texels shared by several triangles.
    """

    texels: TexelMap
    colour: Tensor
    seen: Tensor
    coverage: float
    skipped: int
    overlapping: int

    @property
    def image(self) -> Tensor:
        """uint8 (S, S, 3), sRGB."""
        size = self.texels.size
        return torch.stack([linear_to_srgb(channel).view(size, size) for channel in self.colour], 2)


def bake(
    mesh: Mesh,
    views: Sequence[ViewImage],
    size: int,
    options: FuseOptions = DEFAULT,
    *,
    check: Callable[[], None] = lambda: None,
) -> Texture:
    """Texture a mesh from views. ``check`` is called between chunks of work and may raise to stop it."""
    return bake_parts([mesh], views, size, options, check=check)[0]


def bake_parts(
    parts: Sequence[Mesh],
    views: Sequence[ViewImage],
    size: int,
    options: FuseOptions = DEFAULT,
    *,
    check: Callable[[], None] = lambda: None,
) -> list[Texture]:
    """Texture the parts of one mesh that lie on different UDIM tiles, so that no edge of a tile shows."""
    surfaces = [Surface(part, rasterise(part, size)) for part in parts]
    gains = match_views(surfaces, views, options)
    fused = [fuse(surface, views, options, check, gains) for surface in surfaces]
    weights = [part.weight for part in fused]
    trusts = fill_unseen(surfaces, [part.colour for part in fused], weights, check)
    return [_padded(*part) for part in zip(surfaces, fused, trusts, strict=True)]


def _padded(surface: Surface, fused: Fused, trust: Tensor) -> Texture:
    texels, size = surface.texels, surface.texels.size
    target, source = nearest_filled(texels.covered, padding(size), repeats=texels.repeats)
    on_mesh = texels.triangle >= 0
    count = on_mesh.sum().clamp(min=1)
    for channel in fused.colour:
        # Far mip levels average islands with what lies between them, however wide the padding.
        channel.masked_fill_(~on_mesh, channel.sum(dtype=torch.float64) / count)
        channel[target] = channel[source]
    return Texture(
        texels=texels,
        colour=fused.colour,
        seen=(trust * 255.0 + 0.5).to(torch.uint8).view(size, size),
        coverage=float((fused.weight > 0.0).sum() / on_mesh.sum().clamp(min=1)),
        skipped=texels.skipped,
        overlapping=len(texels.overlapped),
    )
