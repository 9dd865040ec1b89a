"""Relief out of pictures: bright stands out, dark lies deep, at several scales; and its slope on the surface.

A height is the sum of bands of the logarithm of luminance, each brought to the contrast that is typical of it in these
pictures and softly limited, so that one black line isn't a canyon. It is measured in scene units by the size of a
pixel: relief as fine as a pixel is as high as a fraction of one, whatever the object's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

from ..surface import cross
from .blur import blur

__all__ = ["BANDS", "Slopes", "height_range", "reliefs", "surface_gradient"]

BANDS = ((1.0, 0.3), (2.0, 0.7), (4.0, 1.0), (8.0, 0.7))
"""Of a picture of 512 pixels: sigma in pixels, and share of the band."""

SLOPE = 0.26
"""How steep relief gets, as height over sigma, where the words for the material say nothing of it."""

QUIET = 0.03
"""Contrast of a band, as a logarithm, below which it counts as noise and isn't brought up any more."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """One picture to make relief of. tone: float32 (h, w), logarithm of luminance without light. weight: float32
    (h, w), 0 where nothing is known. footprint: world size of a pixel. wrap: as in :func:`.blur.blur`."""

    tone: Tensor
    weight: Tensor
    footprint: float
    wrap: tuple[bool, bool] = (False, False)


def height_range(unit: float, relief: float) -> float:
    """Twice the greatest height there can be. unit: pixel of a picture of 512, in scene units. relief: of a
    material."""
    return 2.0 * SLOPE * relief * unit * sum(sigma * share for sigma, share in BANDS)


def reliefs(pictures: Sequence[Slopes], unit: float, relief: float) -> list[Tensor]:
    """Heights (h, w) in scene units, 0 where nothing is known.

    unit: as in :func:`height_range`; bands are of that size in the world, whatever the pictures' own resolutions.
    """
    heights = [torch.zeros_like(picture.tone) for picture in pictures]
    spectra = [_bands(picture, unit / picture.footprint) for picture in pictures]
    for sigma, share in BANDS:
        bands = [next(rest) for rest in spectra]
        typical = _typical(bands, pictures)
        scale = SLOPE * relief * share * sigma * unit * min(1.0, typical / QUIET)
        for height, band in zip(heights, bands, strict=True):
            height += scale * torch.tanh(band / (2.5 * max(typical, QUIET)))
    return [torch.where(picture.weight > 0.0, height, 0.0) for picture, height in zip(pictures, heights, strict=True)]


def _bands(picture: Slopes, scale: float) -> Iterator[Tensor]:
    """What of the tone is between each band's size and twice that, from fine to coarse. scale: pixels for one of
    ``BANDS``."""
    largest = max(picture.tone.shape) / 4.0
    known: tuple[float, Tensor] | None = None  # a band begins where the one before it ends
    for size, _ in BANDS:
        sigma = min(max(size * scale, 0.5), largest)
        fine = known[1] if known is not None and known[0] == sigma else _blurred(picture, sigma)
        wide = min(2.0 * sigma, 2.0 * largest)
        known = (wide, _blurred(picture, wide))
        yield fine - known[1]


def _blurred(picture: Slopes, sigma: float) -> Tensor:
    return blur(picture.tone, picture.weight, sigma, picture.wrap)


def _typical(bands: Sequence[Tensor], pictures: Sequence[Slopes]) -> float:
    """Robust standard deviation over all pictures."""
    known = torch.cat([band[picture.weight > 0.5] for band, picture in zip(bands, pictures, strict=True)])
    if len(known) == 0:
        return 0.0
    return 1.4826 * float(known[:: max(1, len(known) // 65536)].abs().median())


def surface_gradient(height: Tensor, known: Tensor, normal: Tensor, depth: Tensor, camera: Camera) -> Tensor:
    """How height grows along the surface: a vector in the surface, view space, float32 (3, h, w).

    height: scene units, along the normal. known: bool (h, w); there is no slope next to what isn't. normal: unit, view
    space, towards the viewer (3, h, w). depth: planar (h, w). The normal of the surface with its relief is
    normalize(normal - gradient) (Mikkelsen 2010).
    """
    along_x, along_y = _steps(normal, depth, camera)
    height_x, height_y = _difference(height, known, 1), _difference(height, known, 0)
    first, second = cross(along_y, normal), cross(normal, along_x)
    area = (along_x * first).sum(0)
    area = torch.where(area.abs() < 1e-12, 1e-12, area)
    gradient = (height_x * first + height_y * second) / area
    return torch.where(known, gradient, 0.0)


def _steps(normal: Tensor, depth: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """View-space steps on the surface's tangent plane for one pixel to the right and one down, (3, h, w) each."""
    p = camera.projection_matrix
    columns = torch.arange(camera.width, device=depth.device, dtype=torch.float32) + 0.5
    rows = torch.arange(camera.height, device=depth.device, dtype=torch.float32) + 0.5
    x = (columns / camera.width * 2.0 - 1.0 - float(p[0, 3]) + float(p[0, 2])) / float(p[0, 0])
    y = (1.0 - rows / camera.height * 2.0 - float(p[1, 3]) + float(p[1, 2])) / float(p[1, 1])
    ray = torch.zeros_like(normal)
    ray[2] = -1.0
    reach = torch.ones_like(depth)
    if not camera.is_orthographic:
        ray[0], ray[1] = x[None, :], y[:, None]
        reach = depth
    facing = (normal * ray).sum(0).clamp(max=-0.05)  # edge-on, a pixel would reach for ever
    steps = []
    for axis, size in ((0, 2.0 / (camera.width * float(p[0, 0]))), (1, -2.0 / (camera.height * float(p[1, 1])))):
        step = -ray * (normal[axis] * size / facing)
        step[axis] += size
        steps.append(step * reach)
    return steps[0], steps[1]


def _difference(height: Tensor, known: Tensor, axis: int) -> Tensor:
    """Change from pixel to pixel, from both sides where both are known, else from the one."""
    after, before = height.roll(-1, axis), height.roll(1, axis)
    has_after, has_before = known.roll(-1, axis).clone(), known.roll(1, axis).clone()
    has_after.select(axis, -1).fill_(False)
    has_before.select(axis, 0).fill_(False)
    both = has_after.float() + has_before.float()
    change = torch.where(has_after, after - height, 0.0) + torch.where(has_before, height - before, 0.0)
    return change / both.clamp(min=1.0)
