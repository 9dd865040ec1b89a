"""Many views -> one texture: what they show of each texel, averaged in linear light by how well they see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .lookup import Lookup, look, sample
from .match import view_gains
from .parallel import in_parallel
from .surface import Surface, SurfacePoints
from .visibility import ViewGeometry

__all__ = ["DEFAULT", "FuseOptions", "Fused", "ViewImage", "fuse", "match_views", "view_weights"]

CHUNK_TEXELS = 1 << 16
MATCH_TEXELS = 1 << 16
"""Texels that colours are compared on."""


@dataclass(frozen=True, slots=True)
class FuseOptions:
    """How views are weighed.

    angle_exponent: weight is cosine ** this; 2-4 blends, large values let the best view win. min_cosine: views at
    grazing angles are left out below it. density: further factor (pixels per texel side, relative to the sharpest
    view) ** this. match_colours: even out gains between views. detail_exponent: if not None, fine detail is taken
    with cosine ** this instead, so that views which disagree by a pixel don't blur each other; detail_radius: what is
    fine, pixels of the picture.
    """

    angle_exponent: float = 3.0
    min_cosine: float = 0.2
    density: float = 1.0
    match_colours: bool = True
    detail_exponent: float | None = None
    detail_radius: float = 4.0


DEFAULT = FuseOptions()


@dataclass(frozen=True, slots=True)
class ViewImage:
    """A view and its picture, float32 (1, C, h, w), linear light. importance: multiplies its weights."""

    geometry: ViewGeometry
    image: Tensor
    importance: float = 1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """size: side S. colour: float32 (C, S * S), linear; weight: float32 (S * S,), 0 where no view sees the texel.
    gains: float32 (V, C), applied to the views."""

    size: int
    colour: Tensor
    weight: Tensor
    gains: Tensor


def view_weights(seen: Lookup, options: FuseOptions, exponent: float) -> Tensor:
    """Weight (M,) of each texel a view sees."""
    weight = seen.border * seen.cosine**exponent
    if options.density > 0.0:
        weight = weight * seen.footprint ** (-options.density)
    return weight


def fuse(
    surface: Surface,
    views: Sequence[ViewImage],
    options: FuseOptions = DEFAULT,
    check: Callable[[], None] = lambda: None,
    gains: Tensor | None = None,
) -> Fused:
    """Average the views over the surface's texels. ``check`` is called between chunks and may raise.

    gains: of :func:`match_views`, for a surface that is a part; None works them out for this one.
    """
    texels = surface.texels
    size, channels, device = texels.size, views[0].image.shape[1], texels.triangle.device
    if gains is None:
        gains = match_views([surface], views, options)
    detailed = options.detail_exponent is not None
    blurred = [_blur(view, options.detail_radius) for view in views] if detailed else []
    colour = torch.zeros(channels, size * size, device=device)
    weight = torch.zeros(size * size, device=device)

    def work(begin: int) -> None:
        some = texels.part(begin, begin + CHUNK_TEXELS)
        if len(some) == 0:
            return
        found, total = _mixed(surface, surface.points(some), views, blurred, gains, options)
        colour[:, begin : begin + CHUNK_TEXELS].index_copy_(1, some.index - begin, found.clamp_(min=0.0))
        weight[begin : begin + CHUNK_TEXELS].index_copy_(0, some.index - begin, total)

    in_parallel(work, range(0, size * size, CHUNK_TEXELS), device, check)
    return Fused(size, colour, weight, gains)


def _mixed(
    surface: Surface,
    points: SurfacePoints,
    views: Sequence[ViewImage],
    blurred: Sequence[Tensor],
    gains: Tensor,
    options: FuseOptions,
) -> tuple[Tensor, Tensor]:
    """Colours (C, N) of points, and their weight (N,). blurred: the views' pictures, for fine detail of its own."""
    sums = torch.zeros(2 if blurred else 1, gains.shape[1] + 1, len(points), device=gains.device)
    for number, (view, gain) in enumerate(zip(views, gains, strict=True)):
        seen = look(view.geometry, points, surface.origin, options.min_cosine)
        base = view_weights(seen, options, options.angle_exponent) * view.importance
        full = sample(seen, view.image).mul_(gain[:, None])
        if options.detail_exponent is None:
            _add(sums[0], seen, full, base)
            continue
        low = sample(seen, blurred[number]).mul_(gain[:, None])
        _add(sums[0], seen, low, base)
        _add(sums[1], seen, full - low, view_weights(seen, options, options.detail_exponent) * view.importance)
    return torch.stack([_mean(band) for band in sums]).sum(0), sums[0, -1]


def _add(sums: Tensor, seen: Lookup, colour: Tensor, weight: Tensor) -> None:
    sums[-1].index_add_(0, seen.index, weight)
    for channel, values in enumerate(colour):
        sums[channel].index_add_(0, seen.index, values * weight)


def _mean(sums: Tensor) -> Tensor:
    total = sums[-1]
    return sums[:-1] / torch.where(total > 0.0, total, 1.0)


def _blur(view: ViewImage, radius: float) -> Tensor:
    """A view's picture, blurred within what the view hits; the background lends nothing."""
    image = view.image
    rows, columns = image.shape[2:]
    camera = view.geometry.camera
    hit = torch.isfinite(view.geometry.depth).view(1, 1, camera.height, camera.width).float()
    hit = torch.nn.functional.interpolate(hit, (rows, columns), mode="nearest")
    reach = math.ceil(3.0 * radius)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / radius) ** 2)
    both = torch.cat([image * hit, hit], 1).transpose(0, 1)
    both = torch.nn.functional.conv2d(both, kernel.view(1, 1, 1, -1), padding=(0, reach))
    both = torch.nn.functional.conv2d(both, kernel.view(1, 1, -1, 1), padding=(reach, 0)).transpose(0, 1)
    return both[:, :-1] / both[:, -1:].clamp(min=1e-6)


def match_views(surfaces: Sequence[Surface], views: Sequence[ViewImage], options: FuseOptions = DEFAULT) -> Tensor:
    """What to multiply each view's channels with so that they agree on the surfaces, float32 (V, C); 1 if
    ``options`` don't ask for it."""
    channels, device = views[0].image.shape[1], views[0].image.device
    if not options.match_colours:
        return torch.ones(len(views), channels, device=device)
    on_mesh = [torch.nonzero(surface.texels.triangle >= 0)[:, 0] for surface in surfaces]
    step = max(1, sum(map(len, on_mesh)) // MATCH_TEXELS)
    colours, weights = [], []
    for surface, index in zip(surfaces, on_mesh, strict=True):
        points = surface.points(surface.texels.at(index[::step]))
        colour = torch.zeros(len(views), channels, len(points), device=device)
        weight = torch.zeros(len(views), len(points), device=device)
        for i, view in enumerate(views):
            seen = look(view.geometry, points, surface.origin, options.min_cosine)
            colour[i, :, seen.index] = sample(seen, view.image)
            weight[i, seen.index] = view_weights(seen, options, options.angle_exponent)
        colours.append(colour)
        weights.append(weight)
    return view_gains(torch.cat(colours, 2), torch.cat(weights, 1))
