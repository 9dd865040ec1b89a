"""All materials with their names, the colours they come in, the finishes over them, and their evaluation in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import made
import natural
import torch
from fields import cells, fbm, smooth, warp
from surface import Point, Surface, code, linear, mix, surface
from torch import Tensor

__all__ = ["COLOURS", "FINISHES", "MATERIALS", "Material", "Point", "Surface", "evaluate", "linear"]


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
    _m(made.red_brick, "red brick", "brick", "brickwork", "old bricks", tint=True, weight=1.6),
    _m(made.stone_wall, "stone", "stone wall", "rough stone", "rubble masonry", "stonework", tint=True, weight=1.6),
    _m(made.cobblestone, "cobblestone", "cobbles", "paving stones", tint=True),
    _m(made.planks, "wooden planks", "planks", "wood boards", "wooden boards", "timber", tint=True, weight=1.4),
    _m(natural.oak, "oak wood", "oak", "light wood", "polished wood", "wood", tint=True),
    _m(natural.walnut, "walnut", "dark wood", "walnut wood"),
    _m(natural.bark, "bark", "tree bark"),
    _m(natural.thatch, "thatch", "straw", "hay"),
    _m(natural.marble, "marble", "white marble", "veined marble", "polished marble", tint=True, weight=1.4),
    _m(natural.granite, "granite", "speckled granite", tint=True),
    _m(natural.sandstone, "sandstone", "layered sandstone", "desert rock", tint=True),
    _m(natural.slate, "slate", "dark slate", "layered slate"),
    _m(made.concrete, "concrete", "bare concrete", "cement", tint=True, weight=1.2),
    _m(made.plaster, "plaster", "stucco", "painted plaster", tint=True),
    _m(made.terracotta, "terracotta", "fired clay", "earthenware"),
    _m(made.ceramic, "glazed ceramic", "ceramic", "glossy ceramic", "enamel", tint=True, weight=1.4),
    _m(made.porcelain, "porcelain", "painted porcelain", "china", tint=True),
    _m(made.tiles, "tiles", "ceramic tiles", "bathroom tiles", tint=True),
    _m(made.checkerboard, "checkerboard", "checkered", "chequered pattern", tint=True),
    _m(made.mosaic, "mosaic", "mosaic stones", tint=True),
    _m(made.gold, "gold", "polished gold", "solid gold", "golden metal", weight=1.2),
    _m(made.brushed_gold, "brushed gold", "satin gold"),
    _m(made.brushed_steel, "brushed steel", "brushed aluminium", "stainless steel", "steel"),
    _m(made.chrome, "chrome", "polished chrome", "mirror", "mirror-like silver"),
    _m(made.copper, "copper", "polished copper", "bronze"),
    _m(made.verdigris, "verdigris copper", "oxidised copper", "weathered copper", "green patina"),
    _m(natural.rust, "rust", "rusty iron", "rusted metal", "corroded iron", weight=1.2),
    _m(made.painted_metal, "painted metal", "chipped paint", "peeling paint", tint=True),
    _m(made.corrugated_iron, "corrugated iron", "corrugated metal", "sheet metal", tint=True),
    _m(made.leather, "leather", "worn leather", tint=True),
    _m(made.denim, "denim", "jeans fabric", tint=True),
    _m(made.knit, "knitted wool", "knit", "wool", "knitwear", tint=True, weight=1.2),
    _m(made.plaid, "plaid", "tartan", "plaid fabric", tint=True),
    _m(made.velvet, "velvet", "soft velvet", tint=True),
    _m(natural.fur, "fur", "furry", "shaggy fur", tint=True),
    _m(natural.grass, "grass", "lawn", "meadow", "grassy turf", weight=1.2),
    _m(natural.moss, "moss", "soft moss", "thick moss"),
    _m(natural.leaves, "leaves", "foliage", "ivy", "hedge", tint=True),
    _m(natural.sand, "sand", "desert sand", "beach sand", tint=True, weight=1.2),
    _m(natural.soil, "soil", "dirt", "earth", "mud"),
    _m(natural.gravel, "gravel", "pebbles", "small stones"),
    _m(natural.snow, "snow", "fresh snow", "powder snow"),
    _m(natural.ice, "ice", "cracked ice", "glacier ice", "frozen ice", weight=1.2),
    _m(natural.lava, "lava", "molten rock", "magma", "glowing lava", weight=1.2),
    _m(natural.water, "water", "rippling water", "sea water", tint=True),
    _m(made.glass, "glass", "frosted glass", "coloured glass", tint=True),
    _m(made.plastic, "plastic", "glossy plastic", "toy plastic", tint=True, weight=1.2),
    _m(made.clay, "clay", "grey clay", "plasticine", "matte clay", tint=True, weight=1.2),
    _m(made.rubber, "rubber", "studded rubber", tint=True),
    _m(made.candy, "candy", "candy stripes", "striped candy", "candy cane", tint=True),
    _m(made.chocolate, "chocolate", "milk chocolate", "dark chocolate"),
    _m(made.cheese, "cheese", "swiss cheese", "yellow cheese"),
    _m(made.circuit_board, "circuit board", "electronics", "printed circuit", tint=True),
    _m(made.scifi_panels, "sci-fi panels", "spaceship hull", "futuristic panels", "sci-fi metal plating", tint=True),
    _m(made.neon_grid, "neon grid", "glowing grid", "synthwave grid", tint=True),
    _m(natural.galaxy, "galaxy", "starry nebula", "outer space pattern"),
    _m(natural.zebra, "zebra stripes", "zebra pattern", "striped hide", tint=True),
    _m(natural.scales, "scales", "dragon scales", "fish scales", "reptile skin", tint=True),
    _m(made.pebbled_gold_leaf, "gold leaf", "flaking gold leaf", tint=True),
)

COLOURS = {
    "red": "c4202a", "orange": "e8791c", "yellow": "f0c828", "green": "2f8f3a", "teal": "12858a",
    "blue": "2356c0", "purple": "6b2fa0", "pink": "ea7ba8", "white": "f2f1ee", "black": "1b1b1e",
    "grey": "808285", "brown": "6f4527", "turquoise": "35c2b8", "cream": "f0e3c2", "crimson": "99102c",
    "navy blue": "182a5e", "lime green": "9bd32b", "lavender": "b9a3e0",
}  # fmt: skip


def _mossy(s: Surface, x: Point, up: Tensor) -> None:
    cover = smooth(-0.05, 0.3, fbm(x.p * 2.0 + 5, 4) + 0.45 * up - 0.1)
    green = natural.moss(x)
    s.albedo, s.height = mix(s.albedo, green.albedo, cover), s.height + cover * (0.03 + green.height)
    s.rough, s.metal, s.emit = (
        torch.lerp(s.rough, green.rough, cover),
        s.metal * (1 - cover),
        mix(s.emit, green.emit, cover),
    )


def _snowy(s: Surface, x: Point, up: Tensor) -> None:
    cover = smooth(0.1, 0.4, up + 0.35 * fbm(x.p * 2.4 + 8, 3))
    s.albedo, s.height = mix(s.albedo, code(x, "f3f7fd"), cover), s.height * (1 - cover) + 0.05 * cover
    s.rough, s.metal, s.emit = (
        torch.lerp(s.rough, cover * 0 + 0.8, cover),
        s.metal * (1 - cover),
        s.emit * (1 - cover)[:, None],
    )


def _dusty(s: Surface, x: Point, up: Tensor) -> None:
    cover = 0.75 * smooth(-0.3, 0.5, fbm(x.p * 2.6 + 3, 4) + 0.5 * up)
    s.albedo, s.metal = mix(s.albedo, code(x, "b5a58c"), cover), s.metal * (1 - cover)
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
    other = natural.rust(x)
    s.albedo, s.metal = mix(s.albedo, other.albedo, cover), s.metal * (1 - cover)
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
"""What may lie over any material: a function that changes the surface in place, given how far it faces up;
and words for it."""


def evaluate(material: Tensor, finish: Tensor, point: Point, up: Tensor) -> Surface:
    """Surfaces of N points. material (N,) index into MATERIALS; finish (N,) index into FINISHES or -1; up (N,) world z
    of the normal."""
    result = surface(torch.zeros_like(point.p))
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
