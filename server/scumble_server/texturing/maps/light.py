"""Light out of pictures: what of their brightness depends on where a surface faces, and on nothing else.

Irradiance of a matt surface is a function of its normal that second-order spherical harmonics hold to a percent
(Ramamoorthi and Hanrahan 2001), and the normals are known. So the logarithm of luminance is fitted with them, twice:

- in view space, for light that came along with each view. The same place in several views shows it apart from what the
  place's own brightness is, so each patch of the surface has a mean of its own.
- in world space, for light that stayed, as generated views that agree have it. Nothing but likelihood tells it from
  paint: it must explain much, fall from above rather than from below, and never changes hue; each hue has a mean of
  its own.

How far a fit is believed is told by cross-validation: what is learnt on one half of the surface must hold on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .views import Picture

__all__ = ["Light", "fit_light", "luminance"]

FLOOR = 0.01
"""Linear luminance below which logarithms say more of noise than of light."""

SAMPLES = 1 << 15
"""Pixels that light is fitted on, over all views."""

TERMS = 8
HUES = 8
RIDGE = 1e-3
CELLS = 8.0
"""Patches across a view's frame."""


@dataclass(frozen=True, slots=True)
class Trust:
    """held: share of the variance that a fit explains on the half it wasn't made on, below which nothing is removed,
    and from which on all. clip: most that is ever removed, as a logarithm, either way."""

    held: tuple[float, float]
    clip: float


BY_VIEW = Trust((0.05, 0.12), 1.1)
BY_WORLD = Trust((0.08, 0.2), 0.8)


@dataclass(frozen=True, slots=True)
class _Part:
    """coefficients: float64 (8,). strength: in [0, 1]. middle: logarithm that counts as even light."""

    coefficients: Tensor
    strength: float
    middle: float
    clip: float

    def logarithm(self, normals: Tensor) -> Tensor:
        """Of normals (N, 3): (N,)."""
        found = _harmonics(normals) @ self.coefficients.to(normals.dtype) - self.middle
        return (found * self.strength).clamp(-self.clip, self.clip)


@dataclass(frozen=True, slots=True)
class Light:
    """What was found; either part may be missing."""

    by_view: _Part | None
    by_world: _Part | None

    def shading(self, picture: Picture) -> Tensor:
        """What the picture's luminance was multiplied with, float32 (h, w); 1 in even light and off the meshes."""
        normals = picture.normal.flatten(1).T
        found = torch.zeros(len(normals), device=normals.device)
        if self.by_view is not None:
            found = found + self.by_view.logarithm(normals)
        if self.by_world is not None:
            found = found + self.by_world.logarithm(normals @ picture.rotation)
        return torch.where(picture.hit, torch.exp(found).view_as(picture.trust), 1.0)


def luminance(colour: Tensor) -> Tensor:
    """Of linear Rec. 709 colours (3, ...)."""
    found: Tensor = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    return found


def fit_light(pictures: Sequence[Picture]) -> Light:
    """The light in pictures of the same objects; none if they are too small or too evenly lit to tell."""
    samples = [_samples(picture, SAMPLES // len(pictures)) for picture in pictures]
    view, world, target, hue, patch = (torch.cat(parts) for parts in zip(*samples, strict=True))
    if len(target) < 64 * TERMS:
        return Light(None, None)
    first = patch % 2 == 0
    by_view = None
    if len(pictures) > 1:
        places = torch.unique(torch.stack([patch, hue], 1), dim=0, return_inverse=True)[1]
        by_view = _part(view, target, places, first, BY_VIEW)
    if by_view is not None:
        target = target - by_view.logarithm(view)
    by_world = _part(world, target, hue, first, BY_WORLD)
    if by_world is not None and float(by_world.coefficients[2]) < 0.0:
        by_world = None  # from below: rather a dark top
    return Light(by_view, by_world)


def _samples(picture: Picture, count: int) -> tuple[Tensor, ...]:
    """Of some pixels: normals in view and world space (N, 3), logarithm of luminance (N,), hue class (N,) and number of
    the patch in space (N,)."""
    usable = torch.nonzero((picture.trust >= 1.0).flatten())[:, 0]
    usable = usable[:: max(1, len(usable) // count)]
    normals = picture.normal.flatten(1)[:, usable].T.double()
    colour = picture.colour.flatten(1)[:, usable]
    target = torch.log(luminance(colour).clamp(min=FLOOR)).double()
    return normals, normals @ picture.rotation.double(), target, _hues(colour), _patches(picture, usable)


def _part(normals: Tensor, target: Tensor, group: Tensor, first: Tensor, trust: Trust) -> _Part | None:
    terms = _harmonics(normals)
    low, high = trust.held
    strength = min(max((_cross_validated(terms, target, group, first) - low) / (high - low), 0.0), 1.0)
    if strength == 0.0:
        return None
    coefficients = _fit(terms, target, group)
    return _Part(coefficients, strength, float((terms @ coefficients).median()), trust.clip)


def _harmonics(normals: Tensor) -> Tensor:
    """Real spherical harmonics of orders 1 and 2, unscaled, of normals (N, 3): (N, 8)."""
    x, y, z = normals.unbind(1)
    return torch.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, z * z - 1.0 / 3.0], 1)


def _hues(colour: Tensor) -> Tensor:
    """Class of chromaticity of linear colours (3, N), int64 (N,)."""
    share = colour / colour.sum(0).clamp(min=3.0 * FLOOR)
    steps = (share[:2] * HUES).long().clamp_(0, HUES - 1)
    return steps[0] * HUES + steps[1]


def _patches(picture: Picture, pixels: Tensor) -> Tensor:
    """Number of the cell of a grid in world space that each pixel's surface point lies in."""
    columns = picture.camera.width
    at = torch.stack([pixels % columns, pixels // columns], 1).cpu().numpy() + 0.5
    points = picture.camera.unproject(at, picture.depth.flatten()[pixels].cpu().numpy().astype("float64"))
    world = torch.from_numpy(points).to(pixels.device)
    size = picture.footprint * max(picture.camera.width, picture.camera.height) / CELLS
    step = torch.floor(world / size).long()
    return step[:, 0] * 73856093 ^ step[:, 1] * 19349663 ^ step[:, 2] * 83492791


def _fit(terms: Tensor, target: Tensor, group: Tensor) -> Tensor:
    """Ridge regression after each group's mean is taken off, with outliers (highlights, cast shadows) counting less."""
    weight = torch.ones_like(target)
    coefficients = torch.zeros(terms.shape[1], dtype=terms.dtype, device=terms.device)
    for _ in range(3):
        x, y = _centred(terms, group, weight), _centred(target[:, None], group, weight)[:, 0]
        system = (x * weight[:, None]).T @ x / weight.sum()
        scale = torch.diagonal(system).mean().clamp(min=1e-12)
        system = system + RIDGE * scale * torch.eye(len(system), dtype=x.dtype, device=x.device)
        coefficients = torch.linalg.solve(system, (x * (weight * y)[:, None]).sum(0) / weight.sum())
        rest = (y - x @ coefficients).abs()
        typical = rest.median().clamp(min=1e-4)
        weight = (2.5 * typical / rest.clamp(min=1e-9)).clamp(max=1.0)
    return coefficients


def _centred(values: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """Values (N, K) less their group's weighted mean."""
    groups = int(group.max()) + 1
    count = torch.zeros(groups, dtype=values.dtype, device=values.device).index_add_(0, group, weight)
    sums = torch.zeros(groups, values.shape[1], dtype=values.dtype, device=values.device)
    sums.index_add_(0, group, values * weight[:, None])
    return values - (sums / count.clamp(min=1e-9)[:, None])[group]


def _cross_validated(terms: Tensor, target: Tensor, group: Tensor, first: Tensor) -> float:
    """Share of the variance within groups that fits of either half explain on the other; may be negative."""
    explained = 0.0
    for half in (first, ~first):
        if int(half.sum()) < 2 * len(terms[0]) or int((~half).sum()) < 2 * len(terms[0]):
            return 0.0
        coefficients = _fit(terms[half], target[half], group[half])
        one = torch.ones_like(target[~half])
        x, y = _centred(terms[~half], group[~half], one), _centred(target[~half][:, None], group[~half], one)[:, 0]
        left, whole = float(((y - x @ coefficients) ** 2).sum()), float((y * y).sum())
        explained += (1.0 - left / max(whole, 1e-12)) / 2.0 if whole > 1e-6 * len(y) else 0.0
    return explained
