"""What procedural materials are written in: a batch of points in, a batch of surfaces out, and a few shorthands.

A material sees points in *texture units* (the view is about two units high, so features keep a readable size in
the picture) and answers with linear albedo, height for bumps, roughness, metalness and emission.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from fields import smooth
from torch import Tensor

__all__ = ["Point", "Surface", "code", "courses", "frac", "linear", "mix", "number", "ramp", "surface"]


def linear(code: str) -> Tensor:
    """Linear RGB (3,) of a hex sRGB code."""
    srgb = torch.tensor([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@dataclass(frozen=True, slots=True)
class Point:
    """N surface points: p (N, 3) object space, texture units; n (N, 3) object-space normal; r (N, 8) the object's own
    random numbers in [0, 1]; tint (N, 3) linear colour asked for; tinted (N,) whether one was."""

    p: Tensor
    n: Tensor
    r: Tensor
    tint: Tensor
    tinted: Tensor

    def colour(self, code: str, amount: float = 1.0) -> Tensor:
        """The material's own colour (N, 3), or the tint where one was asked for; slightly varied per object."""
        own = linear(code).to(self.p.device).expand_as(self.p)
        asked = own + amount * (self.tint - own)
        chosen = torch.where(self.tinted[:, None], asked, own)
        return chosen * (0.85 + 0.3 * self.r[:, 5:6]) * (1.0 + 0.12 * (self.r[:, 2:5] - 0.5))

    def box(self) -> tuple[Tensor, Tensor]:
        """Box-projected coordinates (N,), (N,): along and up the face the point lies on."""
        axis = self.n.abs().argmax(-1)
        x, y, z = self.p.unbind(-1)
        u = torch.where(axis == 0, y, x)
        return u, torch.where(axis == 2, y, z)


@dataclass(slots=True)
class Surface:
    """albedo (N, 3) linear; height (N,) in texture units; rough, metal (N,) in [0, 1]; emit (N, 3) linear."""

    albedo: Tensor
    height: Tensor
    rough: Tensor
    metal: Tensor
    emit: Tensor


def surface(
    albedo: Tensor,
    height: Tensor | None = None,
    rough: float | Tensor = 0.8,
    metal: float | Tensor = 0.0,
    emit: Tensor | None = None,
) -> Surface:
    n = albedo[:, 0]
    return Surface(
        albedo,
        torch.zeros_like(n) if height is None else height,
        torch.zeros_like(n) + rough,
        torch.zeros_like(n) + metal,
        torch.zeros_like(albedo) if emit is None else emit,
    )


def frac(x: Tensor) -> Tensor:
    """What is above the floor, in [0, 1) for negative numbers too."""
    return x - x.floor()


def mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t[:, None]


def code(x: Point, code: str) -> Tensor:
    return linear(code).to(x.p.device).expand_as(x.p)


def ramp(x: Point, t: Tensor, *codes: str) -> Tensor:
    """Colours (N, 3) along a ramp of evenly spaced hex codes, t in [0, 1]."""
    table = torch.stack([linear(code) for code in codes]).to(x.p.device)
    position = t.clamp(0, 1) * (len(codes) - 1)
    low = position.floor().long().clamp(max=len(codes) - 2)
    return table[low] + (table[low + 1] - table[low]) * (position - low)[:, None]


def courses(u: Tensor, v: Tensor, width: float, height: float, gap: float) -> tuple[Tensor, Tensor, Tensor]:
    """Running bond: how far inside a brick (0 in the joint, 1 inside), and its column and row numbers; each (N,)."""
    row = (v / height).floor()
    shifted = u / width + 0.5 * row.remainder(2)
    column = shifted.floor()
    fu, fv = shifted - column, v / height - row
    edge = torch.minimum(torch.minimum(fu, 1 - fu) * width, torch.minimum(fv, 1 - fv) * height)
    return smooth(gap * 0.6, gap * 1.5, edge), column, row


def number(a: Tensor, b: Tensor) -> Tensor:
    """A random number in [0, 1) for each pair of whole numbers."""
    return frac(torch.sin(a * 12.9898 + b * 78.233) * 43758.547).abs()
