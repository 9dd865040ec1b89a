"""Procedural materials: what every surface point looks like, as plain functions over batches of points.

A material sees points in *texture units* (the view is about two units high, so features keep a readable size in
the picture) and answers with linear albedo, height for bumps, roughness, metalness and emission.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fields import cells, fbm, noise, ridged, smooth, warp

__all__ = ["COLOURS", "FINISHES", "MATERIALS", "Material", "Point", "Surface", "evaluate", "linear"]


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


def _surface(
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


def _frac(x: Tensor) -> Tensor:
    """What is above the floor, in [0, 1) for negative numbers too."""
    return x - x.floor()


def _mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t[:, None]


def _code(x: Point, code: str) -> Tensor:
    return linear(code).to(x.p.device).expand_as(x.p)


def _ramp(x: Point, t: Tensor, *codes: str) -> Tensor:
    """Colours (N, 3) along a ramp of evenly spaced hex codes, t in [0, 1]."""
    table = torch.stack([linear(code) for code in codes]).to(x.p.device)
    position = t.clamp(0, 1) * (len(codes) - 1)
    low = position.floor().long().clamp(max=len(codes) - 2)
    return table[low] + (table[low + 1] - table[low]) * (position - low)[:, None]


def _courses(u: Tensor, v: Tensor, width: float, height: float, gap: float) -> tuple[Tensor, Tensor, Tensor]:
    """Running bond: how far inside a brick (0 in the joint, 1 inside), and its column and row numbers; each (N,)."""
    row = (v / height).floor()
    shifted = u / width + 0.5 * row.remainder(2)
    column = shifted.floor()
    fu, fv = shifted - column, v / height - row
    edge = torch.minimum(torch.minimum(fu, 1 - fu) * width, torch.minimum(fv, 1 - fv) * height)
    return smooth(gap * 0.6, gap * 1.5, edge), column, row


def _number(a: Tensor, b: Tensor) -> Tensor:
    """A random number in [0, 1) for each pair of whole numbers."""
    return _frac(torch.sin(a * 12.9898 + b * 78.233) * 43758.547).abs()


def red_brick(x: Point) -> Surface:
    u, v = x.box()
    inside, i, j = _courses(u, v, 0.44, 0.2, 0.018)
    shade = 0.65 + 0.6 * _number(i, j) + 0.25 * fbm(x.p * 9, 3)
    mortar = _code(x, "b9b0a2") * (0.9 + 0.2 * noise(x.p * 14))[:, None]
    return _surface(_mix(mortar, x.colour("a2452f") * shade[:, None], inside), 0.03 * inside + 0.006 * fbm(x.p * 14, 2))


def stone_wall(x: Point) -> Surface:
    first, edge, number = cells(warp(x.p, 0.12, 2.0) * torch.tensor([2.2, 2.2, 3.4], device=x.p.device))
    inside = smooth(0.02, 0.16, edge)
    stone = x.colour("8d867a") * (0.55 + 0.7 * number + 0.3 * fbm(x.p * 7, 3))[:, None]
    return _surface(_mix(_code(x, "4a4640"), stone, inside), 0.06 * inside - 0.05 * first + 0.02 * fbm(x.p * 8, 3), 0.9)


def cobblestone(x: Point) -> Surface:
    first, edge, number = cells(x.p * 3.4)
    inside = smooth(0.0, 0.2, edge)
    stone = x.colour("77787b") * (0.6 + 0.6 * number + 0.15 * noise(x.p * 15))[:, None]
    return _surface(_mix(_code(x, "2b2926"), stone, inside), 0.10 * inside * (1 - first), 0.7)


def planks(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.26).floor()
    gap = torch.minimum(v / 0.26 - row, 1 - v / 0.26 + row) * 0.26
    offset = _number(row, row * 0 + 3) * 7
    grain = fbm(torch.stack([u * 1.6 + offset, v * 22, offset], dim=-1), 3)
    wood = x.colour("9c7248") * (0.62 + 0.6 * _number(row, row * 0 + 1) + 0.32 * grain)[:, None]
    inside = smooth(0.004, 0.02, gap)
    return _surface(_mix(_code(x, "20160d"), wood, inside), 0.02 * inside + 0.004 * grain, 0.7)


def _wood(x: Point, dark: str, light: str, rings: float) -> Surface:
    q = warp(x.p, 0.12, 1.6)
    radius = (q[:, :2] - 0.6).norm(dim=-1) * rings + 0.5 * noise(x.p * torch.tensor([3.0, 3.0, 0.6], device=x.p.device))
    ring = 0.5 + 0.5 * torch.sin(radius * 6.28)
    fibre = fbm(x.p * torch.tensor([34.0, 34.0, 2.5], device=x.p.device), 2)
    base = _ramp(x, 0.15 + 0.7 * ring + 0.22 * fibre, dark, light)
    base = torch.where(x.tinted[:, None], base * 0.6 + 0.55 * x.tint * (0.6 + 0.6 * ring[:, None]), base)
    return _surface(base, 0.003 * fibre, 0.45)


def oak(x: Point) -> Surface:
    return _wood(x, "8f6136", "d3a96f", 3.2)


def walnut(x: Point) -> Surface:
    return _wood(x, "2e1a0f", "6e452a", 3.6)


def bark(x: Point) -> Surface:
    q = warp(x.p, 0.15, 3.0) * torch.tensor([5.0, 5.0, 1.4], device=x.p.device)
    ridge = ridged(q, 3)
    base = _ramp(x, smooth(0.35, 0.95, ridge) * 0.9 + 0.15 * noise(x.p * 12), "1d140e", "5d4733", "94795c")
    return _surface(base, -0.09 * ridge, 0.95)


def thatch(x: Point) -> Surface:
    u, v = x.box()
    straw = noise(torch.stack([u * 38, v * 3.0, x.r[:, 0] * 9], dim=-1))
    layer = _frac(v / 0.34 + 0.12 * noise(torch.stack([u * 4, v * 0, v * 0], dim=-1)))
    tone = (0.5 + 0.35 * straw) * (0.45 + 0.55 * smooth(0.0, 0.3, layer))
    return _surface(_ramp(x, tone, "3a2a12", "a5813f", "e2c67c"), 0.04 * straw - 0.06 * layer, 0.95)


def marble(x: Point) -> Surface:
    q = warp(x.p, 0.5, 1.1)
    vein = ridged(q * 1.3, 4) ** 5
    fine = ridged(q * 3.1 + 4, 2) ** 9
    base = x.colour("ece9e4") * (0.93 + 0.07 * fbm(x.p * 2, 3))[:, None]
    return _surface(_mix(base, _code(x, "5d6168"), (0.95 * vein + 0.35 * fine).clamp(0, 0.85)), None, 0.16)


def granite(x: Point) -> Surface:
    speck = noise(x.p * 24)
    other = noise(x.p * 31 + 7)
    base = x.colour("a29c98") * (0.9 + 0.2 * noise(x.p * 9))[:, None]
    base = _mix(base, _code(x, "26262a"), smooth(0.18, 0.38, speck))
    return _surface(_mix(base, _code(x, "e8e2dc"), smooth(0.22, 0.4, other)), None, 0.28)


def sandstone(x: Point) -> Surface:
    band = torch.sin(x.p[:, 2] * 16 + 2.2 * noise(x.p * 1.5) + 3 * x.r[:, 0])
    tone = 0.5 + 0.3 * band + 0.25 * fbm(x.p * 8, 3)
    base = _ramp(x, tone, "a5713f", "cf9f66", "ecd0a0")
    base = torch.where(x.tinted[:, None], x.tint * (0.55 + 0.8 * tone[:, None]), base)
    return _surface(base, 0.02 * band + 0.01 * fbm(x.p * 10, 2), 0.95)


def slate(x: Point) -> Surface:
    layer = fbm(x.p * torch.tensor([1.5, 1.5, 9.0], device=x.p.device), 4)
    return _surface(x.colour("454e58") * (0.85 + 0.55 * layer)[:, None].clamp(min=0.2), 0.05 * layer, 0.6)


def concrete(x: Point) -> Surface:
    stain = fbm(x.p * 1.6, 4)
    pores = smooth(0.5, 0.68, noise(x.p * 17))
    base = x.colour("9a9995") * (1.0 + 0.22 * stain + 0.06 * noise(x.p * 26))[:, None]
    return _surface(base * (1 - 0.4 * pores)[:, None], -0.01 * pores, 0.9)


def plaster(x: Point) -> Surface:
    trowel = fbm(warp(x.p, 0.2, 2.0) * 4, 3)
    return _surface(x.colour("e9e1d3") * (0.97 + 0.07 * trowel)[:, None], 0.022 * trowel, 0.92)


def terracotta(x: Point) -> Surface:
    base = x.colour("c0663d") * (0.95 + 0.16 * fbm(x.p * 5, 3))[:, None]
    return _surface(base, 0.006 * torch.sin(x.p[:, 2] * 30), 0.85)


def ceramic(x: Point) -> Surface:
    pool = fbm(x.p * 1.4, 2)
    crackle = smooth(0.03, 0.0, cells(x.p * 3.2)[1])
    base = x.colour("2d6fa8") * (0.92 + 0.3 * pool)[:, None] * (1 - 0.25 * crackle)[:, None]
    return _surface(base, None, 0.06)


def porcelain(x: Point) -> Surface:
    flower = smooth(0.30, 0.24, cells(warp(x.p, 0.08, 4.0) * 2.4)[0]) * smooth(0.06, 0.12, cells(x.p * 2.4)[0])
    vine = smooth(0.05, 0.02, noise(x.p * 2.8 + 3).abs())
    paint = torch.where(x.tinted[:, None], x.tint, _code(x, "1f3f9a"))
    return _surface(_mix(_code(x, "f4f4f2"), paint, torch.maximum(flower, vine)), None, 0.07)


def tiles(x: Point) -> Surface:
    u, v = x.box()
    i, j = (u / 0.28).floor(), (v / 0.28).floor()
    fu, fv = u / 0.28 - i, v / 0.28 - j
    inside = smooth(0.03, 0.07, torch.minimum(torch.minimum(fu, 1 - fu), torch.minimum(fv, 1 - fv)))
    tile = x.colour("d8e2e0") * (0.82 + 0.3 * _number(i, j))[:, None]
    return _surface(_mix(_code(x, "8b8a86"), tile, inside), 0.015 * inside, 0.12 + 0.7 * (1 - inside))


def checkerboard(x: Point) -> Surface:
    u, v = x.box()
    odd = ((u / 0.34).floor() + (v / 0.34).floor()).remainder(2)
    dark = torch.where(x.tinted[:, None], x.tint * 0.8, _code(x, "161616"))
    return _surface(_mix(_code(x, "f0eee8"), dark, odd), None, 0.2)


def mosaic(x: Point) -> Surface:
    _, edge, number = cells(x.p * 5.0)
    inside = smooth(0.03, 0.1, edge)
    stone = _ramp(x, number, "1d5f8a", "3fa7b5", "e8dcb5", "d28a3c", "8e2f2a")
    stone = torch.where(x.tinted[:, None], x.tint * (0.4 + 1.0 * number[:, None]), stone)
    return _surface(_mix(_code(x, "cfc8bb"), stone, inside), 0.015 * inside, 0.25)


def gold(x: Point) -> Surface:
    return _surface(_code(x, "ffcb55") * (0.95 + 0.08 * fbm(x.p * 2, 2))[:, None], 0.004 * fbm(x.p * 6, 2), 0.14, 1.0)


def _brushed(x: Point, code: str) -> Surface:
    u, v = x.box()
    line = noise(torch.stack([u * 1.2, v * 60, x.r[:, 0] * 5], dim=-1)) + 0.5 * noise(
        torch.stack([u * 3, v * 110, x.r[:, 1] * 5], dim=-1)
    )
    return _surface(_code(x, code) * (0.84 + 0.16 * line)[:, None], 0.002 * line, 0.36, 1.0)


def brushed_gold(x: Point) -> Surface:
    return _brushed(x, "f5bf50")


def brushed_steel(x: Point) -> Surface:
    return _brushed(x, "b9bcc2")


def chrome(x: Point) -> Surface:
    return _surface(_code(x, "f1f3f5") * (0.97 + 0.03 * noise(x.p))[:, None], None, 0.02, 1.0)


def copper(x: Point) -> Surface:
    return _surface(_code(x, "e58a62") * (0.93 + 0.14 * fbm(x.p * 3, 3))[:, None], 0.004 * fbm(x.p * 5, 2), 0.2, 1.0)


def verdigris(x: Point) -> Surface:
    patina = smooth(-0.35, 0.15, fbm(x.p * 2.3, 4) - 0.1)
    green = _ramp(x, 0.5 + 0.5 * fbm(x.p * 6 + 3, 3), "2f7a68", "6fc0a6", "a9dcc6")
    return _surface(_mix(_code(x, "8a4f31"), green, patina), 0.01 * patina, 0.35 + 0.5 * patina, 1.0 - patina)


def rust(x: Point) -> Surface:
    tone = 0.5 + 0.55 * fbm(x.p * 3.2, 5)
    base = _ramp(x, tone, "2c1610", "6e2f14", "a8501c", "d17c32")
    return _surface(base, 0.03 * fbm(x.p * 9, 3), 0.95)


def painted_metal(x: Point) -> Surface:
    chip = smooth(0.42, 0.5, fbm(x.p * 2.6, 4))
    base = _mix(x.colour("c23b2b"), _code(x, "5a3a28"), chip)
    return _surface(base, -0.01 * chip, 0.25 + 0.5 * chip, 0.3 * chip)


def corrugated_iron(x: Point) -> Surface:
    u, _ = x.box()
    wave = torch.sin(u * 40)
    stain = smooth(0.1, 0.6, fbm(x.p * 2, 3))
    base = _mix(x.colour("a4abb0"), _code(x, "7a4226"), 0.7 * stain)
    return _surface(base * (0.85 + 0.15 * wave)[:, None], 0.035 * wave, 0.45, 0.75 * (1 - stain))


def leather(x: Point) -> Surface:
    first, edge, _ = cells(x.p * 9)
    crease = smooth(0.12, 0.0, edge)
    base = x.colour("6b3d22") * (0.95 + 0.3 * fbm(x.p * 2, 3))[:, None] * (1 - 0.4 * crease)[:, None]
    return _surface(base, -0.012 * crease - 0.006 * first, 0.42)


def denim(x: Point) -> Surface:
    u, v = x.box()
    twill = torch.sin((u + v) * 75)
    fade = fbm(x.p * 2.2, 3)
    base = x.colour("34507f") * (0.9 + 0.25 * twill + 0.3 * fade)[:, None]
    return _surface(base, 0.005 * twill, 0.95)


def knit(x: Point) -> Surface:
    u, v = x.box()
    fu = _frac(u / 0.13) - 0.5
    stitch = _frac(v / 0.11 + fu.abs() * 1.3)
    loop = torch.sin(stitch * 3.14) * (torch.cos(fu * 6.28).abs() * 0.4 + 0.6)
    base = x.colour("c8574f") * (0.5 + 0.6 * loop)[:, None]
    return _surface(base, 0.04 * loop, 1.0)


def plaid(x: Point) -> Surface:
    u, v = x.box()
    a, b = smooth(0.0, 0.3, torch.sin(u * 14)), smooth(0.0, 0.3, torch.sin(v * 14))
    thin = torch.maximum(smooth(0.97, 0.99, torch.sin(u * 14 + 1)), smooth(0.97, 0.99, torch.sin(v * 14 + 1)))
    base = _mix(x.colour("b3262a"), _code(x, "131a2c"), 0.48 * (a + b))
    return _surface(_mix(base, _code(x, "e6d9a8"), thin), 0.004 * torch.sin((u - v) * 120), 1.0)


def velvet(x: Point) -> Surface:
    fold = fbm(x.p * 1.8, 3)
    return _surface(x.colour("6a1236") * (0.8 + 0.7 * fold)[:, None].clamp(min=0.15), 0.03 * fold, 1.0)


def fur(x: Point) -> Surface:
    hair = noise(warp(x.p, 0.1, 2.0) * torch.tensor([26.0, 26.0, 7.0], device=x.p.device))
    base = x.colour("a0805c") * (0.8 + 0.55 * hair + 0.3 * fbm(x.p * 2, 2))[:, None].clamp(min=0.1)
    return _surface(base, 0.03 * hair, 1.0)


def grass(x: Point) -> Surface:
    blade = noise(x.p * torch.tensor([22.0, 22.0, 9.0], device=x.p.device))
    tone = 0.5 + 0.32 * blade + 0.3 * fbm(x.p * 1.7, 3)
    return _surface(_ramp(x, tone, "16350d", "3f7a1e", "86b53a"), 0.06 * blade, 1.0)


def moss(x: Point) -> Surface:
    tuft = fbm(x.p * 6.5, 4)
    tone = 0.45 + 0.4 * tuft + 0.2 * noise(x.p * 1.5)
    return _surface(_ramp(x, tone, "1a2a08", "4c6614", "8a9c2c"), 0.07 * tuft, 1.0)


def leaves(x: Point) -> Surface:
    first, edge, number = cells(warp(x.p, 0.1, 3.0) * 4.2)
    base = _ramp(x, number, "1b4a1e", "2f7a2c", "6da83c")
    base = torch.where(x.tinted[:, None], x.tint * (0.4 + number[:, None]), base)
    return _surface(base * (0.35 + 0.65 * smooth(0.0, 0.25, edge))[:, None], 0.09 * edge - 0.03 * first, 0.6)


def sand(x: Point) -> Surface:
    u, v = x.box()
    ripple = torch.sin(v * 20 + 2.5 * noise(x.p * 1.6) + 0.4 * u)
    base = x.colour("d9b981") * (0.95 + 0.1 * ripple + 0.1 * noise(x.p * 30))[:, None]
    return _surface(base, 0.02 * ripple, 0.98)


def soil(x: Point) -> Surface:
    clod = fbm(x.p * 6, 4)
    return _surface(_ramp(x, 0.5 + 0.5 * clod, "1e130b", "4a3220", "755538"), 0.06 * clod, 1.0)


def gravel(x: Point) -> Surface:
    first, edge, number = cells(x.p * 6.5)
    base = _ramp(x, number, "5f5b55", "94908a", "c4beb2") * smooth(-0.02, 0.22, edge)[:, None]
    return _surface(base, 0.06 * edge - 0.03 * first, 0.9)


def snow(x: Point) -> Surface:
    drift = fbm(x.p * 1.6, 4)
    base = _code(x, "f2f6fc") * (0.95 + 0.05 * drift)[:, None]
    return _surface(base, 0.05 * drift, 0.75)


def ice(x: Point) -> Surface:
    crack = smooth(0.06, 0.0, cells(warp(x.p, 0.2, 1.5) * 1.9)[1])
    depth = fbm(x.p * 2.2, 4)
    base = _ramp(x, 0.5 + 0.5 * depth, "5fa3c8", "a6d6ea", "e2f5fb")
    return _surface(_mix(base, _code(x, "f7fdff"), 0.8 * crack), 0.01 * depth, 0.05)


def lava(x: Point) -> Surface:
    _, edge, number = cells(warp(x.p, 0.25, 2.0) * 2.3)
    glow = smooth(0.22, 0.0, edge + 0.10 * fbm(x.p * 5, 3))
    crust = _ramp(x, number, "0e0b0a", "2a211e")
    fire = _ramp(x, glow, "3a0500", "e23a05", "ffb638")
    return _surface(crust * (1 - glow)[:, None], 0.05 * smooth(0.0, 0.3, edge), 0.9, 0.0, fire * (1.9 * glow)[:, None])


def water(x: Point) -> Surface:
    wave = fbm(warp(x.p, 0.2, 1.5) * 3.0, 3)
    base = x.colour("14506b") * (0.9 + 0.35 * wave)[:, None]
    return _surface(base, 0.05 * wave, 0.03)


def glass(x: Point) -> Surface:
    swirl = fbm(x.p * 1.5, 3)
    return _surface(x.colour("bfe0d8") * (0.8 + 0.25 * swirl)[:, None], None, 0.02, 0.45)


def plastic(x: Point) -> Surface:
    return _surface(x.colour("e0a526") * (1.0 + 0.03 * noise(x.p * 3))[:, None], None, 0.28)


def clay(x: Point) -> Surface:
    dent = fbm(x.p * 4, 3)
    return _surface(x.colour("b7a99a") * (0.98 + 0.06 * dent)[:, None], 0.025 * dent, 0.95)


def rubber(x: Point) -> Surface:
    u, v = x.box()
    stud = smooth(0.3, 0.2, torch.hypot(_frac(u / 0.16) - 0.5, _frac(v / 0.16) - 0.5))
    return _surface(x.colour("232427") * (0.9 + 0.3 * stud)[:, None], 0.03 * stud, 0.6)


def candy(x: Point) -> Surface:
    u, v = x.box()
    stripe = smooth(-0.1, 0.1, torch.sin((u + v) * 13))
    ink = torch.where(x.tinted[:, None], x.tint, _code(x, "d3172e"))
    return _surface(_mix(_code(x, "fbf6f2"), ink, stripe), None, 0.08)


def chocolate(x: Point) -> Surface:
    swirl = fbm(warp(x.p, 0.3, 1.2) * 2.4, 3)
    return _surface(_ramp(x, 0.5 + 0.5 * swirl, "26120a", "4f2817", "7b4a2c"), 0.03 * swirl, 0.3)


def cheese(x: Point) -> Surface:
    first, _, number = cells(x.p * 2.4)
    hole = smooth(0.34, 0.26, first) * (number > 0.35)
    base = _code(x, "f2c043") * (0.97 + 0.08 * noise(x.p * 4))[:, None]
    return _surface(_mix(base, _code(x, "b37a16"), 0.85 * hole), -0.1 * hole, 0.5)


def circuit_board(x: Point) -> Surface:
    u, v = x.box()
    i, j = (u / 0.14).floor(), (v / 0.14).floor()
    fu, fv = _frac(u / 0.14), _frac(v / 0.14)
    pick = _number(i, j)
    line = torch.where(pick < 0.5, (fu - 0.5).abs(), (fv - 0.5).abs())
    pad = torch.hypot(fu - 0.5, fv - 0.5)
    trace = torch.maximum(smooth(0.12, 0.07, line), smooth(0.3, 0.24, pad) * (pick > 0.6))
    chip = (_number((u / 0.56).floor(), (v / 0.42).floor()) > 0.76).float()
    base = _mix(x.colour("0d5a33"), _code(x, "d8b45a"), trace)
    return _surface(_mix(base, _code(x, "15161a"), chip), 0.01 * trace + 0.04 * chip, 0.35, 0.5 * trace * (1 - chip))


def scifi_panels(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.34).floor()
    width = 0.3 + 0.35 * _number(row, row * 0)
    column = (u / width).floor()
    fu, fv = u / width - column, v / 0.34 - row
    edge = torch.minimum(torch.minimum(fu, 1 - fu) * width, torch.minimum(fv, 1 - fv) * 0.34)
    inside = smooth(0.008, 0.024, edge)
    pick = _number(column, row)
    lamp = (pick > 0.72).float() * smooth(0.03, 0.02, (fv - 0.5).abs() * 0.34) * smooth(0.06, 0.09, edge)
    base = _mix(_code(x, "10141a"), x.colour("8b959f") * (0.65 + 0.55 * pick)[:, None], inside)
    glow = _code(x, "28d7ff") * (1.6 * lamp)[:, None]
    return _surface(base, 0.03 * inside, 0.35, 0.6 * inside, glow)


def neon_grid(x: Point) -> Surface:
    u, v = x.box()
    line = torch.minimum((_frac(u / 0.3) - 0.5).abs(), (_frac(v / 0.3) - 0.5).abs())
    glow = torch.exp(-((line / 0.05) ** 2)) + 0.25 * torch.exp(-line / 0.12)
    colour = torch.where(x.tinted[:, None], x.tint + 0.03, _code(x, "ff2bd0"))
    return _surface(_code(x, "0b0a1a"), None, 0.3, 0.0, colour * (1.5 * glow)[:, None])


def galaxy(x: Point) -> Surface:
    cloud = 0.5 + 0.6 * fbm(warp(x.p, 0.4, 1.0) * 1.6, 4)
    star = smooth(0.13, 0.04, cells(x.p * 7)[0])
    base = _ramp(x, cloud, "07061a", "2a1458", "9a3fa8", "f0b4d8")
    return _surface(base, None, 0.5, 0.0, base * 0.5 + star[:, None] * 0.9)


def zebra(x: Point) -> Surface:
    stripe = smooth(-0.12, 0.12, torch.sin(x.p[:, 0] * 15 + 5.0 * noise(x.p * 1.6)))
    ink = torch.where(x.tinted[:, None], x.tint * 0.8, _code(x, "141414"))
    return _surface(_mix(_code(x, "efe9df"), ink, stripe), 0.004 * noise(x.p * 30), 0.9)


def scales(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.13).floor()
    fu, fv = _frac(u / 0.2 + 0.5 * row.remainder(2)), v / 0.13 - row
    arc = torch.hypot((fu - 0.5) * 1.2, fv * 0.9)
    tone = smooth(0.75, 0.2, arc)
    return _surface(x.colour("2f7d56") * (0.3 + 0.95 * tone)[:, None], 0.04 * tone, 0.25, 0.25)


def pebbled_gold_leaf(x: Point) -> Surface:
    flake = smooth(-0.1, 0.05, fbm(x.p * 2.4, 4))
    under = torch.where(x.tinted[:, None], x.tint, _code(x, "7a1f1c"))
    return _surface(_mix(under, _code(x, "f6c65a"), flake), 0.008 * flake, 0.6 - 0.35 * flake, flake)


@dataclass(frozen=True, slots=True)
class Material:
    """name: what evaluation counts. phrases: how captions say it. tint: takes a colour word. weight: how often."""

    name: str
    function: Callable[[Point], Surface]
    phrases: tuple[str, ...]
    tint: bool = False
    weight: float = 1.0


def _m(function: Callable[[Point], Surface], *phrases: str, tint: bool = False, weight: float = 1.0) -> Material:
    return Material(phrases[0], function, phrases, tint, weight)


MATERIALS = (
    _m(red_brick, "red brick", "brick", "brickwork", "old bricks", tint=True, weight=1.6),
    _m(stone_wall, "stone", "stone wall", "rough stone", "rubble masonry", "stonework", tint=True, weight=1.6),
    _m(cobblestone, "cobblestone", "cobbles", "paving stones", tint=True),
    _m(planks, "wooden planks", "planks", "wood boards", "wooden boards", "timber", tint=True, weight=1.4),
    _m(oak, "oak wood", "oak", "light wood", "polished wood", "wood", tint=True),
    _m(walnut, "walnut", "dark wood", "walnut wood"),
    _m(bark, "bark", "tree bark"),
    _m(thatch, "thatch", "straw", "hay"),
    _m(marble, "marble", "white marble", "veined marble", "polished marble", tint=True, weight=1.4),
    _m(granite, "granite", "speckled granite", tint=True),
    _m(sandstone, "sandstone", "layered sandstone", "desert rock", tint=True),
    _m(slate, "slate", "dark slate", "layered slate"),
    _m(concrete, "concrete", "bare concrete", "cement", tint=True, weight=1.2),
    _m(plaster, "plaster", "stucco", "painted plaster", tint=True),
    _m(terracotta, "terracotta", "fired clay", "earthenware"),
    _m(ceramic, "glazed ceramic", "ceramic", "glossy ceramic", "enamel", tint=True, weight=1.4),
    _m(porcelain, "porcelain", "painted porcelain", "china", tint=True),
    _m(tiles, "tiles", "ceramic tiles", "bathroom tiles", tint=True),
    _m(checkerboard, "checkerboard", "checkered", "chequered pattern", tint=True),
    _m(mosaic, "mosaic", "mosaic stones", tint=True),
    _m(gold, "gold", "polished gold", "solid gold", "golden metal", weight=1.2),
    _m(brushed_gold, "brushed gold", "satin gold"),
    _m(brushed_steel, "brushed steel", "brushed aluminium", "stainless steel", "steel"),
    _m(chrome, "chrome", "polished chrome", "mirror", "mirror-like silver"),
    _m(copper, "copper", "polished copper", "bronze"),
    _m(verdigris, "verdigris copper", "oxidised copper", "weathered copper", "green patina"),
    _m(rust, "rust", "rusty iron", "rusted metal", "corroded iron", weight=1.2),
    _m(painted_metal, "painted metal", "chipped paint", "peeling paint", tint=True),
    _m(corrugated_iron, "corrugated iron", "corrugated metal", "sheet metal", tint=True),
    _m(leather, "leather", "worn leather", tint=True),
    _m(denim, "denim", "jeans fabric", tint=True),
    _m(knit, "knitted wool", "knit", "wool", "knitwear", tint=True, weight=1.2),
    _m(plaid, "plaid", "tartan", "plaid fabric", tint=True),
    _m(velvet, "velvet", "soft velvet", tint=True),
    _m(fur, "fur", "furry", "shaggy fur", tint=True),
    _m(grass, "grass", "lawn", "meadow", "grassy turf", weight=1.2),
    _m(moss, "moss", "soft moss", "thick moss"),
    _m(leaves, "leaves", "foliage", "ivy", "hedge", tint=True),
    _m(sand, "sand", "desert sand", "beach sand", tint=True, weight=1.2),
    _m(soil, "soil", "dirt", "earth", "mud"),
    _m(gravel, "gravel", "pebbles", "small stones"),
    _m(snow, "snow", "fresh snow", "powder snow"),
    _m(ice, "ice", "cracked ice", "glacier ice", "frozen ice", weight=1.2),
    _m(lava, "lava", "molten rock", "magma", "glowing lava", weight=1.2),
    _m(water, "water", "rippling water", "sea water", tint=True),
    _m(glass, "glass", "frosted glass", "coloured glass", tint=True),
    _m(plastic, "plastic", "glossy plastic", "toy plastic", tint=True, weight=1.2),
    _m(clay, "clay", "grey clay", "plasticine", "matte clay", tint=True, weight=1.2),
    _m(rubber, "rubber", "studded rubber", tint=True),
    _m(candy, "candy", "candy stripes", "striped candy", "candy cane", tint=True),
    _m(chocolate, "chocolate", "milk chocolate", "dark chocolate"),
    _m(cheese, "cheese", "swiss cheese", "yellow cheese"),
    _m(circuit_board, "circuit board", "electronics", "printed circuit", tint=True),
    _m(scifi_panels, "sci-fi panels", "spaceship hull", "futuristic panels", "sci-fi metal plating", tint=True),
    _m(neon_grid, "neon grid", "glowing grid", "synthwave grid", tint=True),
    _m(galaxy, "galaxy", "starry nebula", "outer space pattern"),
    _m(zebra, "zebra stripes", "zebra pattern", "striped hide", tint=True),
    _m(scales, "scales", "dragon scales", "fish scales", "reptile skin", tint=True),
    _m(pebbled_gold_leaf, "gold leaf", "flaking gold leaf", tint=True),
)

COLOURS = {
    "red": "c4202a", "orange": "e8791c", "yellow": "f0c828", "green": "2f8f3a", "teal": "12858a",
    "blue": "2356c0", "purple": "6b2fa0", "pink": "ea7ba8", "white": "f2f1ee", "black": "1b1b1e",
    "grey": "808285", "brown": "6f4527", "turquoise": "35c2b8", "cream": "f0e3c2", "crimson": "99102c",
    "navy blue": "182a5e", "lime green": "9bd32b", "lavender": "b9a3e0",
}  # fmt: skip


def _mossy(s: Surface, x: Point, up: Tensor) -> None:
    cover = smooth(-0.05, 0.3, fbm(x.p * 2.0 + 5, 4) + 0.45 * up - 0.1)
    green = moss(x)
    s.albedo, s.height = _mix(s.albedo, green.albedo, cover), s.height + cover * (0.03 + green.height)
    s.rough, s.metal, s.emit = torch.lerp(s.rough, green.rough, cover), s.metal * (1 - cover), _mix(s.emit, green.emit, cover)


def _snowy(s: Surface, x: Point, up: Tensor) -> None:
    cover = smooth(0.1, 0.4, up + 0.35 * fbm(x.p * 2.4 + 8, 3))
    s.albedo, s.height = _mix(s.albedo, _code(x, "f3f7fd"), cover), s.height * (1 - cover) + 0.05 * cover
    s.rough, s.metal, s.emit = torch.lerp(s.rough, cover * 0 + 0.8, cover), s.metal * (1 - cover), s.emit * (1 - cover)[:, None]


def _dusty(s: Surface, x: Point, up: Tensor) -> None:
    cover = 0.75 * smooth(-0.3, 0.5, fbm(x.p * 2.6 + 3, 4) + 0.5 * up)
    s.albedo, s.metal = _mix(s.albedo, _code(x, "b5a58c"), cover), s.metal * (1 - cover)
    s.rough = torch.lerp(s.rough, cover * 0 + 1.0, cover)


def _wet(s: Surface, x: Point, up: Tensor) -> None:
    film = smooth(-0.5, 0.2, fbm(x.p * 1.2 + 6, 3) + 0.3 * up)
    s.albedo, s.rough = s.albedo * (1 - 0.5 * film)[:, None], torch.lerp(s.rough, film * 0 + 0.05, film)
    s.height = s.height * (1 - 0.5 * film)


def _cracked(s: Surface, x: Point, up: Tensor) -> None:
    line = smooth(0.07, 0.0, cells(warp(x.p, 0.25, 2.5) * 1.7)[1])
    s.albedo, s.height = s.albedo * (1 - 0.8 * line)[:, None], s.height - 0.05 * line


def _rusty(s: Surface, x: Point, up: Tensor) -> None:
    cover = smooth(-0.1, 0.25, fbm(x.p * 2.4 + 12, 4))
    other = rust(x)
    s.albedo, s.metal = _mix(s.albedo, other.albedo, cover), s.metal * (1 - cover)
    s.rough, s.height = torch.lerp(s.rough, other.rough, cover), s.height + 0.3 * cover * other.height


Finish = Callable[[Surface, Point, Tensor], None]
FINISHES: dict[str, tuple[Finish, tuple[str, ...]]] = {
    "mossy": (_mossy, ("mossy", "moss-covered", "overgrown")),
    "snowy": (_snowy, ("snowy", "snow-covered", "snow-capped")),
    "dusty": (_dusty, ("dusty", "dirty", "grimy")),
    "wet": (_wet, ("wet", "rain-soaked", "glistening")),
    "cracked": (_cracked, ("cracked", "broken", "fractured")),
    "rusty": (_rusty, ("rusty", "rust-stained", "corroded")),
}
"""What may lie over any material: a function that changes the surface in place, given how far it faces up, and words."""


def evaluate(material: Tensor, finish: Tensor, point: Point, up: Tensor) -> Surface:
    """Surfaces of N points. material (N,) index into MATERIALS; finish (N,) index into FINISHES or -1; up (N,) world z
    of the normal."""
    result = _surface(torch.zeros_like(point.p))
    for index in material.unique().tolist():
        _into(result, material == index, MATERIALS[index].function, point)
    for index, (function, _) in enumerate(FINISHES.values()):
        chosen = torch.nonzero(finish == index)[:, 0]
        if len(chosen):
            part = Surface(*(getattr(result, name)[chosen] for name in Surface.__slots__))
            function(part, _take(point, chosen), up[chosen])
            for name in Surface.__slots__:
                getattr(result, name)[chosen] = getattr(part, name)
    result.albedo = result.albedo.clamp(0.005, 0.95)
    return result


def _take(point: Point, at: Tensor) -> Point:
    return Point(point.p[at], point.n[at], point.r[at], point.tint[at], point.tinted[at])


def _into(result: Surface, mask: Tensor, function: Callable[[Point], Surface], point: Point) -> None:
    at = torch.nonzero(mask)[:, 0]
    part = function(_take(point, at))
    for name in Surface.__slots__:
        getattr(result, name)[at] = getattr(part, name)
