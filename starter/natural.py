"""Natural things: woods, stones, plants, ground, water and fire. See :mod:`surface` for the units."""

from __future__ import annotations

import torch
from fields import cells, fbm, noise, ridged, smooth, warp
from surface import Point, Surface, code, frac, mix, ramp, surface

__all__ = [
    "bark",
    "fur",
    "galaxy",
    "granite",
    "grass",
    "gravel",
    "ice",
    "lava",
    "leaves",
    "marble",
    "moss",
    "oak",
    "rust",
    "sand",
    "sandstone",
    "scales",
    "slate",
    "snow",
    "soil",
    "thatch",
    "walnut",
    "water",
    "zebra",
]


def _wood(x: Point, dark: str, light: str, rings: float) -> Surface:
    q = warp(x.p, 0.12, 1.6)
    radius = (q[:, :2] - 0.6).norm(dim=-1) * rings + 0.5 * noise(x.p * torch.tensor([3.0, 3.0, 0.6], device=x.p.device))
    ring = 0.5 + 0.5 * torch.sin(radius * 6.28)
    fibre = fbm(x.p * torch.tensor([34.0, 34.0, 2.5], device=x.p.device), 2)
    base = ramp(x, 0.15 + 0.7 * ring + 0.22 * fibre, dark, light)
    base = torch.where(x.tinted[:, None], base * 0.6 + 0.55 * x.tint * (0.6 + 0.6 * ring[:, None]), base)
    return surface(base, 0.003 * fibre, 0.45)


def oak(x: Point) -> Surface:
    return _wood(x, "8f6136", "d3a96f", 3.2)


def walnut(x: Point) -> Surface:
    return _wood(x, "2e1a0f", "6e452a", 3.6)


def bark(x: Point) -> Surface:
    q = warp(x.p, 0.15, 3.0) * torch.tensor([5.0, 5.0, 1.4], device=x.p.device)
    ridge = ridged(q, 3)
    base = ramp(x, smooth(0.35, 0.95, ridge) * 0.9 + 0.15 * noise(x.p * 12), "1d140e", "5d4733", "94795c")
    return surface(base, -0.09 * ridge, 0.95)


def thatch(x: Point) -> Surface:
    u, v = x.box()
    straw = noise(torch.stack([u * 38, v * 3.0, x.r[:, 0] * 9], dim=-1))
    layer = frac(v / 0.34 + 0.12 * noise(torch.stack([u * 4, v * 0, v * 0], dim=-1)))
    tone = (0.5 + 0.35 * straw) * (0.45 + 0.55 * smooth(0.0, 0.3, layer))
    return surface(ramp(x, tone, "3a2a12", "a5813f", "e2c67c"), 0.04 * straw - 0.06 * layer, 0.95)


def marble(x: Point) -> Surface:
    q = warp(x.p, 0.5, 1.1)
    vein = ridged(q * 1.3, 4) ** 5
    fine = ridged(q * 3.1 + 4, 2) ** 9
    base = x.colour("ece9e4") * (0.93 + 0.07 * fbm(x.p * 2, 3))[:, None]
    return surface(mix(base, code(x, "5d6168"), (0.95 * vein + 0.35 * fine).clamp(0, 0.85)), None, 0.16)


def granite(x: Point) -> Surface:
    speck = noise(x.p * 24)
    other = noise(x.p * 31 + 7)
    base = x.colour("a29c98") * (0.9 + 0.2 * noise(x.p * 9))[:, None]
    base = mix(base, code(x, "26262a"), smooth(0.18, 0.38, speck))
    return surface(mix(base, code(x, "e8e2dc"), smooth(0.22, 0.4, other)), None, 0.28)


def sandstone(x: Point) -> Surface:
    band = torch.sin(x.p[:, 2] * 16 + 2.2 * noise(x.p * 1.5) + 3 * x.r[:, 0])
    tone = 0.5 + 0.3 * band + 0.25 * fbm(x.p * 8, 3)
    base = ramp(x, tone, "a5713f", "cf9f66", "ecd0a0")
    base = torch.where(x.tinted[:, None], x.tint * (0.55 + 0.8 * tone[:, None]), base)
    return surface(base, 0.02 * band + 0.01 * fbm(x.p * 10, 2), 0.95)


def slate(x: Point) -> Surface:
    layer = fbm(x.p * torch.tensor([1.5, 1.5, 9.0], device=x.p.device), 4)
    return surface(x.colour("454e58") * (0.85 + 0.55 * layer)[:, None].clamp(min=0.2), 0.05 * layer, 0.6)


def rust(x: Point) -> Surface:
    tone = 0.5 + 0.55 * fbm(x.p * 3.2, 5)
    base = ramp(x, tone, "2c1610", "6e2f14", "a8501c", "d17c32")
    return surface(base, 0.03 * fbm(x.p * 9, 3), 0.95)


def fur(x: Point) -> Surface:
    hair = noise(warp(x.p, 0.1, 2.0) * torch.tensor([26.0, 26.0, 7.0], device=x.p.device))
    base = x.colour("a0805c") * (0.8 + 0.55 * hair + 0.3 * fbm(x.p * 2, 2))[:, None].clamp(min=0.1)
    return surface(base, 0.03 * hair, 1.0)


def grass(x: Point) -> Surface:
    blade = noise(x.p * torch.tensor([22.0, 22.0, 9.0], device=x.p.device))
    tone = 0.5 + 0.32 * blade + 0.3 * fbm(x.p * 1.7, 3)
    return surface(ramp(x, tone, "16350d", "3f7a1e", "86b53a"), 0.06 * blade, 1.0)


def moss(x: Point) -> Surface:
    tuft = fbm(x.p * 6.5, 4)
    tone = 0.45 + 0.4 * tuft + 0.2 * noise(x.p * 1.5)
    return surface(ramp(x, tone, "1a2a08", "4c6614", "8a9c2c"), 0.07 * tuft, 1.0)


def leaves(x: Point) -> Surface:
    first, edge, number = cells(warp(x.p, 0.1, 3.0) * 4.2)
    base = ramp(x, number, "1b4a1e", "2f7a2c", "6da83c")
    base = torch.where(x.tinted[:, None], x.tint * (0.4 + number[:, None]), base)
    return surface(base * (0.35 + 0.65 * smooth(0.0, 0.25, edge))[:, None], 0.09 * edge - 0.03 * first, 0.6)


def sand(x: Point) -> Surface:
    u, v = x.box()
    ripple = torch.sin(v * 20 + 2.5 * noise(x.p * 1.6) + 0.4 * u)
    base = x.colour("d9b981") * (0.95 + 0.1 * ripple + 0.1 * noise(x.p * 30))[:, None]
    return surface(base, 0.02 * ripple, 0.98)


def soil(x: Point) -> Surface:
    clod = fbm(x.p * 6, 4)
    return surface(ramp(x, 0.5 + 0.5 * clod, "1e130b", "4a3220", "755538"), 0.06 * clod, 1.0)


def gravel(x: Point) -> Surface:
    first, edge, number = cells(x.p * 6.5)
    base = ramp(x, number, "5f5b55", "94908a", "c4beb2") * smooth(-0.02, 0.22, edge)[:, None]
    return surface(base, 0.06 * edge - 0.03 * first, 0.9)


def snow(x: Point) -> Surface:
    drift = fbm(x.p * 1.6, 4)
    base = code(x, "f2f6fc") * (0.95 + 0.05 * drift)[:, None]
    return surface(base, 0.05 * drift, 0.75)


def ice(x: Point) -> Surface:
    crack = smooth(0.06, 0.0, cells(warp(x.p, 0.2, 1.5) * 1.9)[1])
    depth = fbm(x.p * 2.2, 4)
    base = ramp(x, 0.5 + 0.5 * depth, "5fa3c8", "a6d6ea", "e2f5fb")
    return surface(mix(base, code(x, "f7fdff"), 0.8 * crack), 0.01 * depth, 0.05)


def lava(x: Point) -> Surface:
    _, edge, number = cells(warp(x.p, 0.25, 2.0) * 2.3)
    glow = smooth(0.22, 0.0, edge + 0.10 * fbm(x.p * 5, 3))
    crust = ramp(x, number, "0e0b0a", "2a211e")
    fire = ramp(x, glow, "3a0500", "e23a05", "ffb638")
    return surface(crust * (1 - glow)[:, None], 0.05 * smooth(0.0, 0.3, edge), 0.9, 0.0, fire * (1.9 * glow)[:, None])


def water(x: Point) -> Surface:
    wave = fbm(warp(x.p, 0.2, 1.5) * 3.0, 3)
    base = x.colour("14506b") * (0.9 + 0.35 * wave)[:, None]
    return surface(base, 0.05 * wave, 0.03)


def galaxy(x: Point) -> Surface:
    cloud = 0.5 + 0.6 * fbm(warp(x.p, 0.4, 1.0) * 1.6, 4)
    star = smooth(0.13, 0.04, cells(x.p * 7)[0])
    base = ramp(x, cloud, "07061a", "2a1458", "9a3fa8", "f0b4d8")
    return surface(base, None, 0.5, 0.0, base * 0.5 + star[:, None] * 0.9)


def zebra(x: Point) -> Surface:
    stripe = smooth(-0.12, 0.12, torch.sin(x.p[:, 0] * 15 + 5.0 * noise(x.p * 1.6)))
    ink = torch.where(x.tinted[:, None], x.tint * 0.8, code(x, "141414"))
    return surface(mix(code(x, "efe9df"), ink, stripe), 0.004 * noise(x.p * 30), 0.9)


def scales(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.13).floor()
    fu, fv = frac(u / 0.2 + 0.5 * row.remainder(2)), v / 0.13 - row
    arc = torch.hypot((fu - 0.5) * 1.2, fv * 0.9)
    tone = smooth(0.75, 0.2, arc)
    return surface(x.colour("2f7d56") * (0.3 + 0.95 * tone)[:, None], 0.04 * tone, 0.25, 0.25)
