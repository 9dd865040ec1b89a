"""How rough and how metallic surfaces look: what the words say of the material, and what the picture says of places.

Roughness can't be measured in one picture; words for a material tell most of it. Where several materials are named,
colour tells which is where. On top of that, dark places are a little rougher (there is dust in them), and a material
nobody named is smoother if the picture shows highlights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .blur import blur
from .light import luminance
from .materials import PLAIN, Material, Prior
from .views import Picture

__all__ = ["glossiness", "reflection"]

VARIATION = 0.07
"""How much rougher or smoother than its material a place can be."""

SIGMA = 3.0
"""Pixels of a picture of 512 that roughness varies over: finer than that it glitters."""

FAR = 0.12
"""Squared distance between colours, of a material that has none of its own."""

SHARP = 0.012


def reflection(
    albedo: Tensor, weight: Tensor, prior: Prior, gloss: float, scale: float, wrap: tuple[bool, bool] = (False, False)
) -> Tensor:
    """Roughness and metallic, float32 (2, h, w).

    albedo: linear (3, h, w). weight: (h, w), 0 where nothing is known. gloss: of :func:`glossiness`. scale: pixels of
    this picture for one of 512.
    """
    base = _mixed(albedo, weight, prior, scale, wrap) if prior.is_known else _plain(albedo, gloss)
    tone = torch.log(luminance(albedo).clamp(min=0.02))
    fine, wide = blur(tone, weight, SIGMA * scale, wrap), blur(tone, weight, 8.0 * SIGMA * scale, wrap)
    base[0] -= VARIATION * torch.tanh(1.5 * (fine - wide)) * (weight > 0.0)
    base[0].clamp_(0.04, 0.98)
    return base


def glossiness(pictures: Sequence[Picture], albedos: Sequence[Tensor]) -> float:
    """Whether there are highlights, in [0, 1]: bright, colourless spots that crowd on some normals of each view.

    White dots on paint are as bright and colourless, but they are everywhere.
    """
    found = total = 0.0
    for picture, albedo in zip(pictures, albedos, strict=True):
        sure = picture.trust >= 1.0
        if int(sure.sum()) < 256:
            continue
        tone = torch.log(luminance(albedo).clamp(min=0.02))
        saturation = 1.0 - albedo.amin(0) / albedo.amax(0).clamp(min=0.02)
        spots = sure & (tone > tone[sure].median() + 0.7) & (saturation < 0.25)
        count = int(spots.sum())
        total += int(sure.sum())
        if count < 8:
            continue
        crowded = picture.normal[:, spots].mean(1).norm() - picture.normal[:, sure].mean(1).norm()
        found += count * min(max((float(crowded) - 0.05) / 0.1, 0.0), 1.0)
    return min(found / max(total, 1.0) / SHARP, 1.0)


def _plain(albedo: Tensor, gloss: float) -> Tensor:
    base = torch.zeros(2, *albedo.shape[1:], device=albedo.device)
    base[0] = PLAIN.roughness - 0.25 * gloss
    base[1] = PLAIN.metallic
    return base


def _mixed(albedo: Tensor, weight: Tensor, prior: Prior, scale: float, wrap: tuple[bool, bool]) -> Tensor:
    """Each material's values by how close its colour is; by equal shares where none has a colour."""
    values = torch.tensor([[m.roughness, m.metallic] for m in prior.materials], device=albedo.device)
    if len(prior.materials) == 1:
        return values[0][:, None, None].expand(2, *albedo.shape[1:]).clone()
    distances = torch.stack([_distance(albedo, material) for material in prior.materials])
    shares = torch.softmax(-distances / 0.02, 0)
    shares = torch.stack([blur(share, weight, SIGMA * scale / 2.0, wrap) for share in shares])
    shares = shares / shares.sum(0).clamp(min=1e-6)
    return torch.einsum("mk,mhw->khw", values, shares)


def _distance(albedo: Tensor, material: Material) -> Tensor:
    """Squared, mostly in chromaticity: how bright a thing is painted says less of what it is."""
    if material.colour is None:
        return torch.full_like(albedo[0], FAR)
    own = albedo.new_tensor(material.colour)
    share = albedo / albedo.sum(0).clamp(min=0.03)
    apart = (share - (own / own.sum())[:, None, None]).square().sum(0)
    tone = (luminance(albedo).clamp(min=0.0).sqrt() - float(luminance(own)) ** 0.5).square()
    found: Tensor = 3.0 * apart + 0.3 * tone
    return found
