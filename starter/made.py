"""Made things: masonry, wood, metal, cloth, plastic, sweets and machines. See :mod:`surface` for the units."""

from __future__ import annotations

import torch
from fields import cells, fbm, noise, smooth, warp
from surface import Point, Surface, code, courses, frac, mix, number, ramp, surface

__all__ = [
    "brushed_gold",
    "brushed_steel",
    "candy",
    "ceramic",
    "checkerboard",
    "cheese",
    "chocolate",
    "chrome",
    "circuit_board",
    "clay",
    "cobblestone",
    "concrete",
    "copper",
    "corrugated_iron",
    "denim",
    "glass",
    "gold",
    "knit",
    "leather",
    "mosaic",
    "neon_grid",
    "painted_metal",
    "pebbled_gold_leaf",
    "plaid",
    "planks",
    "plaster",
    "plastic",
    "porcelain",
    "red_brick",
    "rubber",
    "scifi_panels",
    "stone_wall",
    "terracotta",
    "tiles",
    "velvet",
    "verdigris",
]


def red_brick(x: Point) -> Surface:
    u, v = x.box()
    inside, i, j = courses(u, v, 0.44, 0.2, 0.018)
    shade = 0.65 + 0.6 * number(i, j) + 0.25 * fbm(x.p * 9, 3)
    mortar = code(x, "b9b0a2") * (0.9 + 0.2 * noise(x.p * 14))[:, None]
    return surface(mix(mortar, x.colour("a2452f") * shade[:, None], inside), 0.03 * inside + 0.006 * fbm(x.p * 14, 2))


def stone_wall(x: Point) -> Surface:
    first, edge, number = cells(warp(x.p, 0.12, 2.0) * torch.tensor([2.2, 2.2, 3.4], device=x.p.device))
    inside = smooth(0.02, 0.16, edge)
    stone = x.colour("8d867a") * (0.55 + 0.7 * number + 0.3 * fbm(x.p * 7, 3))[:, None]
    return surface(mix(code(x, "4a4640"), stone, inside), 0.06 * inside - 0.05 * first + 0.02 * fbm(x.p * 8, 3), 0.9)


def cobblestone(x: Point) -> Surface:
    first, edge, number = cells(x.p * 3.4)
    inside = smooth(0.0, 0.2, edge)
    stone = x.colour("77787b") * (0.6 + 0.6 * number + 0.15 * noise(x.p * 15))[:, None]
    return surface(mix(code(x, "2b2926"), stone, inside), 0.10 * inside * (1 - first), 0.7)


def planks(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.26).floor()
    gap = torch.minimum(v / 0.26 - row, 1 - v / 0.26 + row) * 0.26
    offset = number(row, row * 0 + 3) * 7
    grain = fbm(torch.stack([u * 1.6 + offset, v * 22, offset], dim=-1), 3)
    wood = x.colour("9c7248") * (0.62 + 0.6 * number(row, row * 0 + 1) + 0.32 * grain)[:, None]
    inside = smooth(0.004, 0.02, gap)
    return surface(mix(code(x, "20160d"), wood, inside), 0.02 * inside + 0.004 * grain, 0.7)


def concrete(x: Point) -> Surface:
    stain = fbm(x.p * 1.6, 4)
    pores = smooth(0.5, 0.68, noise(x.p * 17))
    base = x.colour("9a9995") * (1.0 + 0.22 * stain + 0.06 * noise(x.p * 26))[:, None]
    return surface(base * (1 - 0.4 * pores)[:, None], -0.01 * pores, 0.9)


def plaster(x: Point) -> Surface:
    trowel = fbm(warp(x.p, 0.2, 2.0) * 4, 3)
    return surface(x.colour("e9e1d3") * (0.97 + 0.07 * trowel)[:, None], 0.022 * trowel, 0.92)


def terracotta(x: Point) -> Surface:
    base = x.colour("c0663d") * (0.95 + 0.16 * fbm(x.p * 5, 3))[:, None]
    return surface(base, 0.006 * torch.sin(x.p[:, 2] * 30), 0.85)


def ceramic(x: Point) -> Surface:
    pool = fbm(x.p * 1.4, 2)
    crackle = smooth(0.03, 0.0, cells(x.p * 3.2)[1])
    base = x.colour("2d6fa8") * (0.92 + 0.3 * pool)[:, None] * (1 - 0.25 * crackle)[:, None]
    return surface(base, None, 0.06)


def porcelain(x: Point) -> Surface:
    flower = smooth(0.30, 0.24, cells(warp(x.p, 0.08, 4.0) * 2.4)[0]) * smooth(0.06, 0.12, cells(x.p * 2.4)[0])
    vine = smooth(0.05, 0.02, noise(x.p * 2.8 + 3).abs())
    paint = torch.where(x.tinted[:, None], x.tint, code(x, "1f3f9a"))
    return surface(mix(code(x, "f4f4f2"), paint, torch.maximum(flower, vine)), None, 0.07)


def tiles(x: Point) -> Surface:
    u, v = x.box()
    i, j = (u / 0.28).floor(), (v / 0.28).floor()
    fu, fv = u / 0.28 - i, v / 0.28 - j
    inside = smooth(0.03, 0.07, torch.minimum(torch.minimum(fu, 1 - fu), torch.minimum(fv, 1 - fv)))
    tile = x.colour("d8e2e0") * (0.82 + 0.3 * number(i, j))[:, None]
    return surface(mix(code(x, "8b8a86"), tile, inside), 0.015 * inside, 0.12 + 0.7 * (1 - inside))


def checkerboard(x: Point) -> Surface:
    u, v = x.box()
    odd = ((u / 0.34).floor() + (v / 0.34).floor()).remainder(2)
    dark = torch.where(x.tinted[:, None], x.tint * 0.8, code(x, "161616"))
    return surface(mix(code(x, "f0eee8"), dark, odd), None, 0.2)


def mosaic(x: Point) -> Surface:
    _, edge, number = cells(x.p * 5.0)
    inside = smooth(0.03, 0.1, edge)
    stone = ramp(x, number, "1d5f8a", "3fa7b5", "e8dcb5", "d28a3c", "8e2f2a")
    stone = torch.where(x.tinted[:, None], x.tint * (0.4 + 1.0 * number[:, None]), stone)
    return surface(mix(code(x, "cfc8bb"), stone, inside), 0.015 * inside, 0.25)


def gold(x: Point) -> Surface:
    return surface(code(x, "ffcb55") * (0.95 + 0.08 * fbm(x.p * 2, 2))[:, None], 0.004 * fbm(x.p * 6, 2), 0.14, 1.0)


def _brushed(x: Point, tone: str) -> Surface:
    u, v = x.box()
    line = noise(torch.stack([u * 1.2, v * 60, x.r[:, 0] * 5], dim=-1)) + 0.5 * noise(
        torch.stack([u * 3, v * 110, x.r[:, 1] * 5], dim=-1)
    )
    return surface(code(x, tone) * (0.84 + 0.16 * line)[:, None], 0.002 * line, 0.36, 1.0)


def brushed_gold(x: Point) -> Surface:
    return _brushed(x, "f5bf50")


def brushed_steel(x: Point) -> Surface:
    return _brushed(x, "b9bcc2")


def chrome(x: Point) -> Surface:
    return surface(code(x, "f1f3f5") * (0.97 + 0.03 * noise(x.p))[:, None], None, 0.02, 1.0)


def copper(x: Point) -> Surface:
    return surface(code(x, "e58a62") * (0.93 + 0.14 * fbm(x.p * 3, 3))[:, None], 0.004 * fbm(x.p * 5, 2), 0.2, 1.0)


def verdigris(x: Point) -> Surface:
    patina = smooth(-0.35, 0.15, fbm(x.p * 2.3, 4) - 0.1)
    green = ramp(x, 0.5 + 0.5 * fbm(x.p * 6 + 3, 3), "2f7a68", "6fc0a6", "a9dcc6")
    return surface(mix(code(x, "8a4f31"), green, patina), 0.01 * patina, 0.35 + 0.5 * patina, 1.0 - patina)


def painted_metal(x: Point) -> Surface:
    chip = smooth(0.42, 0.5, fbm(x.p * 2.6, 4))
    base = mix(x.colour("c23b2b"), code(x, "5a3a28"), chip)
    return surface(base, -0.01 * chip, 0.25 + 0.5 * chip, 0.3 * chip)


def corrugated_iron(x: Point) -> Surface:
    u, _ = x.box()
    wave = torch.sin(u * 40)
    stain = smooth(0.1, 0.6, fbm(x.p * 2, 3))
    base = mix(x.colour("a4abb0"), code(x, "7a4226"), 0.7 * stain)
    return surface(base * (0.85 + 0.15 * wave)[:, None], 0.035 * wave, 0.45, 0.75 * (1 - stain))


def leather(x: Point) -> Surface:
    first, edge, _ = cells(x.p * 9)
    crease = smooth(0.12, 0.0, edge)
    base = x.colour("6b3d22") * (0.95 + 0.3 * fbm(x.p * 2, 3))[:, None] * (1 - 0.4 * crease)[:, None]
    return surface(base, -0.012 * crease - 0.006 * first, 0.42)


def denim(x: Point) -> Surface:
    u, v = x.box()
    twill = torch.sin((u + v) * 75)
    fade = fbm(x.p * 2.2, 3)
    base = x.colour("34507f") * (0.9 + 0.25 * twill + 0.3 * fade)[:, None]
    return surface(base, 0.005 * twill, 0.95)


def knit(x: Point) -> Surface:
    u, v = x.box()
    fu = frac(u / 0.13) - 0.5
    stitch = frac(v / 0.11 + fu.abs() * 1.3)
    loop = torch.sin(stitch * 3.14) * (torch.cos(fu * 6.28).abs() * 0.4 + 0.6)
    base = x.colour("c8574f") * (0.5 + 0.6 * loop)[:, None]
    return surface(base, 0.04 * loop, 1.0)


def plaid(x: Point) -> Surface:
    u, v = x.box()
    a, b = smooth(0.0, 0.3, torch.sin(u * 14)), smooth(0.0, 0.3, torch.sin(v * 14))
    thin = torch.maximum(smooth(0.97, 0.99, torch.sin(u * 14 + 1)), smooth(0.97, 0.99, torch.sin(v * 14 + 1)))
    base = mix(x.colour("b3262a"), code(x, "131a2c"), 0.48 * (a + b))
    return surface(mix(base, code(x, "e6d9a8"), thin), 0.004 * torch.sin((u - v) * 120), 1.0)


def velvet(x: Point) -> Surface:
    fold = fbm(x.p * 1.8, 3)
    return surface(x.colour("6a1236") * (0.8 + 0.7 * fold)[:, None].clamp(min=0.15), 0.03 * fold, 1.0)


def glass(x: Point) -> Surface:
    swirl = fbm(x.p * 1.5, 3)
    return surface(x.colour("bfe0d8") * (0.8 + 0.25 * swirl)[:, None], None, 0.02, 0.45)


def plastic(x: Point) -> Surface:
    return surface(x.colour("e0a526") * (1.0 + 0.03 * noise(x.p * 3))[:, None], None, 0.28)


def clay(x: Point) -> Surface:
    dent = fbm(x.p * 4, 3)
    return surface(x.colour("b7a99a") * (0.98 + 0.06 * dent)[:, None], 0.025 * dent, 0.95)


def rubber(x: Point) -> Surface:
    u, v = x.box()
    stud = smooth(0.3, 0.2, torch.hypot(frac(u / 0.16) - 0.5, frac(v / 0.16) - 0.5))
    return surface(x.colour("232427") * (0.9 + 0.3 * stud)[:, None], 0.03 * stud, 0.6)


def candy(x: Point) -> Surface:
    u, v = x.box()
    stripe = smooth(-0.1, 0.1, torch.sin((u + v) * 13))
    ink = torch.where(x.tinted[:, None], x.tint, code(x, "d3172e"))
    return surface(mix(code(x, "fbf6f2"), ink, stripe), None, 0.08)


def chocolate(x: Point) -> Surface:
    swirl = fbm(warp(x.p, 0.3, 1.2) * 2.4, 3)
    return surface(ramp(x, 0.5 + 0.5 * swirl, "26120a", "4f2817", "7b4a2c"), 0.03 * swirl, 0.3)


def cheese(x: Point) -> Surface:
    first, _, number = cells(x.p * 2.4)
    hole = smooth(0.34, 0.26, first) * (number > 0.35)
    base = code(x, "f2c043") * (0.97 + 0.08 * noise(x.p * 4))[:, None]
    return surface(mix(base, code(x, "b37a16"), 0.85 * hole), -0.1 * hole, 0.5)


def circuit_board(x: Point) -> Surface:
    u, v = x.box()
    i, j = (u / 0.14).floor(), (v / 0.14).floor()
    fu, fv = frac(u / 0.14), frac(v / 0.14)
    pick = number(i, j)
    line = torch.where(pick < 0.5, (fu - 0.5).abs(), (fv - 0.5).abs())
    pad = torch.hypot(fu - 0.5, fv - 0.5)
    trace = torch.maximum(smooth(0.12, 0.07, line), smooth(0.3, 0.24, pad) * (pick > 0.6))
    chip = (number((u / 0.56).floor(), (v / 0.42).floor()) > 0.76).float()
    base = mix(x.colour("0d5a33"), code(x, "d8b45a"), trace)
    return surface(mix(base, code(x, "15161a"), chip), 0.01 * trace + 0.04 * chip, 0.35, 0.5 * trace * (1 - chip))


def scifi_panels(x: Point) -> Surface:
    u, v = x.box()
    row = (v / 0.34).floor()
    width = 0.3 + 0.35 * number(row, row * 0)
    column = (u / width).floor()
    fu, fv = u / width - column, v / 0.34 - row
    edge = torch.minimum(torch.minimum(fu, 1 - fu) * width, torch.minimum(fv, 1 - fv) * 0.34)
    inside = smooth(0.008, 0.024, edge)
    pick = number(column, row)
    lamp = (pick > 0.72).float() * smooth(0.03, 0.02, (fv - 0.5).abs() * 0.34) * smooth(0.06, 0.09, edge)
    base = mix(code(x, "10141a"), x.colour("8b959f") * (0.65 + 0.55 * pick)[:, None], inside)
    glow = code(x, "28d7ff") * (1.6 * lamp)[:, None]
    return surface(base, 0.03 * inside, 0.35, 0.6 * inside, glow)


def neon_grid(x: Point) -> Surface:
    u, v = x.box()
    line = torch.minimum((frac(u / 0.3) - 0.5).abs(), (frac(v / 0.3) - 0.5).abs())
    glow = torch.exp(-((line / 0.05) ** 2)) + 0.25 * torch.exp(-line / 0.12)
    colour = torch.where(x.tinted[:, None], x.tint + 0.03, code(x, "ff2bd0"))
    return surface(code(x, "0b0a1a"), None, 0.3, 0.0, colour * (1.5 * glow)[:, None])


def pebbled_gold_leaf(x: Point) -> Surface:
    flake = smooth(-0.1, 0.05, fbm(x.p * 2.4, 4))
    under = torch.where(x.tinted[:, None], x.tint, code(x, "7a1f1c"))
    return surface(mix(under, code(x, "f6c65a"), flake), 0.008 * flake, 0.6 - 0.35 * flake, flake)
