"""Maps of a picture that is a flat surface: a tile, a decal, a scan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scumble_shared.tensor import AnyArray
from torch import Tensor
from torch.nn.functional import normalize

from ..color import as_numbers, display, linear_light
from .estimate import NEUTRAL, Appearance, cavities
from .light import luminance
from .materials import prior_of
from .reflection import reflection
from .relief import Slopes, height_range, reliefs

__all__ = ["flat_height_range", "flat_maps"]

FLOOR = 0.02


def flat_height_range(prompt: str) -> float:
    """In widths of the picture."""
    return height_range(1.0 / 512.0, prior_of(prompt).relief)


def flat_maps(
    picture: AnyArray,
    kinds: Sequence[str],
    prompt: str,
    tiling: str,
    appearance: Appearance | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, AnyArray]:
    """Maps by kind, H x W (x 3), as ``scumble_shared.job.MAPS`` has them, of 8 bits.

    picture: uint8 H x W x 3, sRGB. tiling: of ``scumble_shared.job.TILINGS``; maps then repeat as well. There is no
    telling light from paint here: albedo is the picture, unless a model says otherwise.
    """
    told = appearance or Appearance()
    prior = prior_of(prompt)
    colour = linear_light(picture, device).permute(2, 0, 1)
    albedo = colour if told.albedo is None else told.albedo
    weight = torch.ones_like(albedo[0])
    wrap = ("x" in tiling, "y" in tiling)
    # Bands are of a size in the picture, whatever its resolution; so is the height.
    pixel = 1.0 / picture.shape[1]
    unit, scale = 1.0 / 512.0, picture.shape[1] / 512.0
    slopes = Slopes(torch.log(luminance(albedo).clamp(min=FLOOR)), weight, pixel, wrap)
    height = reliefs([slopes], unit, prior.relief)[0]
    whole = height_range(unit, prior.relief)
    surface = reflection(albedo, weight, prior, 0.0, scale, wrap)
    values = {
        "roughness": surface[0] if told.roughness is None else told.roughness,
        "metallic": surface[1] if told.metallic is None else told.metallic,
        "ao": cavities(height, weight, whole, scale, wrap),
    }
    found: dict[str, AnyArray] = {}
    for kind in kinds:
        if kind == "albedo":
            found[kind] = picture if told.albedo is None else display(albedo.permute(1, 2, 0).contiguous(), 8)
        elif kind == "normal":
            found[kind] = as_numbers(_normals(height, pixel, wrap).permute(1, 2, 0) * 0.5 + 0.5, 8)
        elif kind == "height":
            found[kind] = as_numbers(height / whole + NEUTRAL, 16)
        else:
            found[kind] = as_numbers(values[kind], 8)
    return found


def _normals(height: Tensor, pixel: float, wrap: tuple[bool, bool]) -> Tensor:
    """Unit (3, h, w), x right, y up."""
    slopes = [_slope(height, axis, wrap[1 - axis]) / pixel for axis in (1, 0)]
    return normalize(torch.stack([-slopes[0], slopes[1], torch.ones_like(height)]), dim=0)


def _slope(height: Tensor, axis: int, wraps: bool) -> Tensor:
    """Central differences; one-sided at an edge that doesn't wrap."""
    slope: Tensor = (height.roll(-1, axis) - height.roll(1, axis)) / 2.0
    length = height.shape[axis]
    if not wraps and length > 1:
        for at, first, second in ((0, 0, 1), (length - 1, length - 2, length - 1)):
            slope.select(axis, at).copy_(height.select(axis, second) - height.select(axis, first))
    elif length < 3:
        slope.zero_()
    return slope
