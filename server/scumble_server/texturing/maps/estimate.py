"""What one estimator says of each view's pixels, as channels that are fused into the texture like colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fuse import ViewImage
from ..halo import without_halos
from ..mesh import Mesh
from .blur import blur
from .light import fit_light, luminance
from .materials import Prior
from .reflection import glossiness, reflection
from .relief import Slopes, height_range, reliefs, surface_gradient
from .views import Picture, picture_of

__all__ = [
    "CAVITY",
    "COLOUR",
    "EVEN",
    "HEIGHT",
    "METALLIC",
    "NEUTRAL",
    "ROUGHNESS",
    "SLOPE",
    "SLOPE_MAX",
    "Appearance",
    "Estimate",
    "cavities",
    "estimate",
]

EVEN, ROUGHNESS, METALLIC, HEIGHT, SLOPE, CAVITY, COLOUR = 0, 1, 2, 3, slice(4, 7), 7, slice(8, 11)
"""Channels: what a colour is multiplied with to be without light; roughness; metallic; height, 0.5 being the surface
and 1 half its range outwards; slope of the height along the outward side, a vector in world space, 0.5 being none;
share of light that reaches into fine relief; and, where a model tells it, the colour without light itself."""

SLOPE_MAX = 2.0
"""Steepest slope a channel can hold, 63 degrees."""

NEUTRAL = 0.5
"""Of height and slope."""

FLOOR = 0.02
CAVITY_DEPTH = 0.5


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a model says of a picture; None where it doesn't. albedo: linear (3, h, w). roughness, metallic: (h, w)."""

    albedo: Tensor | None = None
    roughness: Tensor | None = None
    metallic: Tensor | None = None

    def to(self, device: torch.device) -> Appearance:
        albedo, roughness, metallic = (
            None if values is None else values.to(device) for values in (self.albedo, self.roughness, self.metallic)
        )
        return Appearance(albedo, roughness, metallic)


@dataclass(frozen=True, slots=True)
class Estimate:
    """views: as the given ones, with channels for pictures. height_range: how far apart heights of 0 and 1 are, scene
    units."""

    views: Sequence[ViewImage]
    height_range: float


def estimate(
    meshes: Sequence[Mesh],
    views: Sequence[ViewImage],
    prior: Prior,
    appearances: Sequence[Appearance] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Estimate:
    """Channels of each view. appearances: of a model, one for each view. ``check`` is called between and may raise."""
    pictures = []
    for view in views:
        check()
        pictures.append(picture_of(meshes, view))
    if appearances is not None:
        appearances = [appearance.to(meshes[0].device) for appearance in appearances]
    evens, albedos = _without_light(pictures, appearances)
    check()
    sides = sorted(picture.footprint * max(picture.trust.shape) for picture in pictures)
    unit = sides[len(sides) // 2] / 512.0
    tones = [torch.log(luminance(albedo).clamp(min=FLOOR)) for albedo in albedos]
    slopes = [Slopes(tone, p.trust, p.footprint) for tone, p in zip(tones, pictures, strict=True)]
    heights = reliefs(slopes, unit, prior.relief)
    whole = height_range(unit, prior.relief)
    gloss = 0.0 if prior.is_known else glossiness(pictures, albedos)
    found = []
    for number, picture in enumerate(pictures):
        check()
        appearance = Appearance() if appearances is None else appearances[number]
        channels = _channels(picture, evens[number], albedos[number], heights[number], whole, prior, gloss, appearance)
        geometry = picture.view.geometry
        found.append(ViewImage(geometry, without_halos(channels[None], geometry), picture.view.importance))
    return Estimate(found, whole)


def _without_light(
    pictures: Sequence[Picture], appearances: Sequence[Appearance] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Per picture: factor (h, w), and colour without light (3, h, w)."""
    if appearances is not None and all(appearance.albedo is not None for appearance in appearances):
        albedos = [appearance.albedo for appearance in appearances if appearance.albedo is not None]
        return [torch.ones_like(picture.trust) for picture in pictures], albedos
    light = fit_light(pictures)
    evens = [1.0 / light.shading(picture) for picture in pictures]
    return evens, [(p.colour * even).clamp(max=1.0) for p, even in zip(pictures, evens, strict=True)]


def _channels(
    picture: Picture,
    even: Tensor,
    albedo: Tensor,
    height: Tensor,
    whole: float,
    prior: Prior,
    gloss: float,
    appearance: Appearance,
) -> Tensor:
    """(8, h, w), or (11, h, w) with a model's colour."""
    scale = max(picture.trust.shape) / 512.0
    surface = reflection(albedo, picture.trust, prior, gloss, scale)
    rough = surface[0] if appearance.roughness is None else appearance.roughness
    metal = surface[1] if appearance.metallic is None else appearance.metallic
    gradient = surface_gradient(height, picture.trust > 0.0, picture.normal, picture.depth, picture.camera)
    outward = torch.einsum("ji,jhw->ihw", picture.rotation, gradient) * picture.side
    slope = (outward / (2.0 * SLOPE_MAX)).clamp(-0.5, 0.5) + NEUTRAL
    parts = [
        even[None],
        rough[None],
        metal[None],
        (height * picture.side / whole + NEUTRAL)[None],
        slope,
        cavities(height, picture.trust, whole, scale)[None],
    ]
    return torch.cat([*parts, *([] if appearance.albedo is None else [appearance.albedo])])


def cavities(
    height: Tensor, weight: Tensor, whole: float, scale: float, wrap: tuple[bool, bool] = (False, False)
) -> Tensor:
    """Share of light that reaches each place of a relief, float32 (h, w): less where it lies below what is around."""
    below = blur(height, weight, 6.0 * scale, wrap) - height
    return 1.0 - CAVITY_DEPTH * (4.0 * below / whole).clamp(0.0, 1.0) * (weight > 0.0)
