"""Views in, finished texture out: rasterise, fuse, fill, pad, encode."""

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
from .raster import rasterise
from .surface import Surface

__all__ = ["Texture", "bake", "bake_parts"]


@dataclass(frozen=True, slots=True)
class Texture:
    """image: uint8 (S, S, 3), sRGB, top row first, defined everywhere. seen: uint8 (S, S), 255 where views showed the
    texel, 0 where it was filled in or lies off the mesh. coverage: share of the texels on the mesh that were seen.
    skipped: triangles left out for unusable UVs; overlapping: texels shared by several triangles."""

    image: Tensor
    seen: Tensor
    coverage: float
    skipped: int
    overlapping: int


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
    return [_encoded(*part) for part in zip(surfaces, fused, trusts, strict=True)]


def _encoded(surface: Surface, fused: Fused, trust: Tensor) -> Texture:
    """Padded, in sRGB."""
    texels, size = surface.texels, surface.texels.size
    target, source = nearest_filled(texels.covered, padding(size), repeats=texels.repeats)
    encoded = torch.empty(size, size, 3, dtype=torch.uint8, device=fused.colour.device)
    for channel in range(3):
        encoded[..., channel] = linear_to_srgb(fused.colour[channel]).view(size, size)
    flat = encoded.view(-1, 3)
    on_mesh = texels.triangle >= 0
    # Far mip levels average islands with what lies between them, however wide the padding.
    flat[~on_mesh] = linear_to_srgb(fused.colour[:, on_mesh].mean(1))
    flat[target] = flat[source]
    return Texture(
        image=encoded,
        seen=(trust * 255.0 + 0.5).to(torch.uint8).view(size, size),
        coverage=float((fused.weight > 0.0).sum() / on_mesh.sum().clamp(min=1)),
        skipped=texels.skipped,
        overlapping=len(texels.overlapped),
    )
