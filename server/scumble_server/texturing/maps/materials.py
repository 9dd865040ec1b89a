"""What materials are like, by the words of a prompt: the one table of it.

Roughness is Principled's and glTF's (perceptual: its square is the distribution's width), metallic is 0 or 1 for all
that isn't a mixture. Values are those usual for scanned materials; colours are linear, of the reflection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FINISHES", "MATERIALS", "PLAIN", "Finish", "Material", "Prior", "prior_of"]


@dataclass(frozen=True, slots=True)
class Material:
    """words: that name it, in the singular. relief: how deep, 1 is rough stone. colour: linear RGB, where it is
    typical enough to tell this material from others in the same picture."""

    words: tuple[str, ...]
    roughness: float
    metallic: float
    relief: float = 1.0
    colour: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to a surface. roughness: that it is drawn to, half-way. coats: a metal under it doesn't show."""

    words: tuple[str, ...]
    roughness: float
    relief: float = 1.0
    coats: bool = False


@dataclass(frozen=True, slots=True)
class Prior:
    """materials: those the words name; none means that they don't say. Finishes are already in them."""

    materials: tuple[Material, ...]

    @property
    def is_known(self) -> bool:
        return bool(self.materials)

    @property
    def relief(self) -> float:
        return sum(m.relief for m in self.materials) / len(self.materials) if self.materials else PLAIN.relief


PLAIN = Material((), 0.6, 0.0, 0.8)
"""Where the words don't say."""

_M = Material
MATERIALS = (
    # metals
    _M(("gold", "golden", "gilded", "gilt"), 0.25, 1.0, 0.35, (1.0, 0.71, 0.29)),
    _M(("brass",), 0.3, 1.0, 0.4, (0.89, 0.69, 0.36)),
    _M(("bronze",), 0.38, 1.0, 0.5, (0.60, 0.38, 0.18)),
    _M(("copper",), 0.3, 1.0, 0.4, (0.95, 0.50, 0.33)),
    _M(("silver", "chrome", "platinum", "mirror"), 0.12, 1.0, 0.3, (0.95, 0.93, 0.90)),
    _M(("aluminium", "aluminum", "titanium", "tin", "zinc", "pewter"), 0.35, 1.0, 0.4, (0.75, 0.75, 0.76)),
    _M(("steel", "stainless", "metal", "metallic", "metalwork"), 0.35, 1.0, 0.5, (0.50, 0.49, 0.48)),
    _M(("iron", "cast-iron", "lead", "anvil"), 0.55, 1.0, 0.7, (0.25, 0.24, 0.23)),
    _M(("armour", "armor", "chainmail", "blade"), 0.35, 1.0, 0.6, (0.50, 0.49, 0.48)),
    # what metals turn into
    _M(("rust", "rusty", "rusted", "corroded", "oxidized", "oxidised"), 0.88, 0.0, 1.0, (0.22, 0.07, 0.02)),
    _M(("patina", "verdigris"), 0.75, 0.0, 0.8, (0.15, 0.40, 0.32)),
    # stone and earth
    _M(("stone", "rock", "rocky", "boulder", "cliff", "slate", "basalt", "limestone", "sandstone", "ruin"), 0.85, 0.0),
    _M(("cobblestone", "cobble", "gravel", "pebble", "rubble"), 0.8, 0.0, 1.4),
    _M(("granite", "terrazzo"), 0.5, 0.0, 0.4),
    _M(("marble", "onyx", "alabaster", "jade", "quartz", "obsidian"), 0.22, 0.0, 0.25),
    _M(("concrete", "cement", "plaster", "stucco", "mortar"), 0.85, 0.0, 0.6),
    _M(("brick", "brickwork", "masonry"), 0.85, 0.0, 1.3, (0.35, 0.11, 0.07)),
    _M(("asphalt", "tarmac", "coal", "charcoal", "chalk"), 0.9, 0.0, 0.9),
    _M(("sand", "desert", "dune"), 0.9, 0.0, 0.6),
    _M(("soil", "dirt", "mud", "earth", "ground", "clay", "adobe"), 0.9, 0.0, 1.0),
    _M(("terracotta", "earthenware", "pottery"), 0.75, 0.0, 0.6),
    _M(("lava", "magma", "ember"), 0.8, 0.0, 1.4),
    _M(("snow",), 0.8, 0.0, 0.7, (0.85, 0.87, 0.92)),
    # ceramic, glass, liquid
    _M(("ceramic", "porcelain", "enamel", "glazed", "tile", "mosaic", "faience"), 0.18, 0.0, 0.5),
    _M(("glass", "crystal", "gem", "gemstone", "diamond", "ruby", "emerald", "sapphire", "ice", "icy"), 0.08, 0.0, 0.3),
    _M(("water", "puddle", "slime", "jelly", "honey"), 0.08, 0.0, 0.3),
    # grown
    _M(("wood", "wooden", "timber", "plank", "oak", "pine", "walnut", "mahogany", "plywood", "log"), 0.6, 0.0, 0.7),
    _M(("bark", "tree", "root"), 0.9, 0.0, 1.5),
    _M(("moss", "mossy", "lichen", "grass", "lawn", "hedge"), 0.92, 0.0, 1.1, (0.09, 0.16, 0.03)),
    _M(("leaf", "leaves", "ivy", "plant", "petal", "flower"), 0.5, 0.0, 0.8, (0.10, 0.22, 0.04)),
    _M(("straw", "thatch", "hay", "wicker", "rattan", "bamboo", "cork"), 0.8, 0.0, 1.1),
    _M(("bone", "ivory", "horn", "tooth", "shell", "pearl", "coral"), 0.4, 0.0, 0.5),
    _M(("skin", "flesh", "face"), 0.5, 0.0, 0.4),
    _M(("scale", "dragon", "reptile", "snake", "lizard"), 0.4, 0.0, 1.1),
    _M(("fur", "furry", "hair", "feather"), 0.8, 0.0, 0.9),
    # made
    _M(("leather", "suede"), 0.55, 0.0, 0.6),
    _M(("fabric", "cloth", "textile", "cotton", "linen", "wool", "knit", "knitted", "denim", "carpet"), 0.9, 0.0),
    _M(("velvet", "felt"), 0.95, 0.0, 0.5),
    _M(("silk", "satin"), 0.35, 0.0, 0.3),
    _M(("paper", "cardboard", "parchment"), 0.85, 0.0, 0.3),
    _M(("plastic", "vinyl", "acrylic", "toy", "lego"), 0.35, 0.0, 0.2),
    _M(("rubber", "tyre", "tire", "silicone"), 0.7, 0.0, 0.4),
    _M(("wax", "soap", "candle", "chocolate"), 0.4, 0.0, 0.4),
    _M(("panel", "sci-fi", "robot", "robotic", "spaceship", "mech"), 0.4, 0.6, 0.7),
    _M(("circuit", "neon", "hologram"), 0.35, 0.0, 0.4),
)  # fmt: skip

FINISHES = (
    Finish(("polished", "mirror-like", "lacquered", "varnished", "waxed", "shiny", "glossy", "glazed"), 0.08, 0.6),
    Finish(("wet", "damp", "dripping", "slimy", "oily"), 0.05, 0.9),
    Finish(("smooth", "sleek", "clean", "new"), 0.3, 0.5),
    Finish(("brushed", "satin", "worn", "scratched"), 0.45),
    Finish(("matte", "matt", "dull", "rough", "unpolished", "weathered", "aged"), 0.95),
    Finish(("dusty", "dirty", "muddy", "sandy", "ashen"), 0.95, 1.0),
    Finish(("cracked", "crumbling", "carved", "chiselled", "hammered", "embossed", "ornate"), 0.7, 1.4),
    Finish(("painted", "varnish", "coated", "enamelled"), 0.4, 0.7, coats=True),
)


def prior_of(prompt: str) -> Prior:
    """The materials that a prompt names, in the order of the table. Words after "no" or "without" don't count."""
    said = _words(prompt)
    finishes = [finish for finish in FINISHES if said & set(finish.words)]
    found = [material for material in MATERIALS if said & set(material.words)]
    return Prior(tuple(_finished(material, finishes) for material in found))


def _words(prompt: str) -> set[str]:
    """In the singular, roughly: "stones" is there as both."""
    tokens = re.findall(r"[a-z]+(?:-[a-z]+)*", prompt.lower())
    said: set[str] = set()
    for before, token in zip(["", *tokens], tokens, strict=False):
        if before in ("no", "not", "without"):
            continue
        said |= {token, token.removesuffix("s"), token.removesuffix("es"), *token.split("-")}
    return said


def _finished(material: Material, finishes: list[Finish]) -> Material:
    roughness, metallic, relief = material.roughness, material.metallic, material.relief
    for finish in finishes:
        if set(finish.words) & set(material.words):
            continue  # "glazed" made it ceramic already
        roughness = (roughness + finish.roughness) / 2.0
        relief *= finish.relief
        metallic = 0.0 if finish.coats else metallic
    return Material(material.words, roughness, metallic, relief, material.colour)
