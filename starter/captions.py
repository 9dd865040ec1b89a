"""Dressing scenes and saying so in words: which materials, colours, finishes and light, and a caption for them.

Wordings are drawn from templates and synonyms. Some templates, and one in eleven pairs of material and light, are
held out: training never sees them, evaluation does.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from materials import COLOURS, FINISHES, MATERIALS, linear
from render import LIGHTS, Look
from scenes import KINDS, OTHER, Scene
from torch import Tensor
from views import KEY_LIGHT_ANGLE, KEY_LIGHT_SPREAD

__all__ = ["HELD_OUT_TEMPLATES", "Caption", "Order", "dress", "held_out_pair", "vocabulary_lines"]

COLOUR_NAMES, FINISH_NAMES, LIGHT_NAMES = list(COLOURS), list(FINISHES), list(LIGHTS)
WEIGHTS = [material.weight for material in MATERIALS]
LIGHT_WEIGHTS = {"daylight": 2.6, "sunset": 1.2, "studio": 1.8, "overcast": 1.2, "flat": 1.6, "neon": 0.7, "fog": 0.7}

NOUNS = {
    "box": ("cube", "box", "block", "crate"), "prism": ("prism", "column", "pillar"), "pyramid": ("pyramid",),
    "gem": ("gem", "boulder", "crystal shape"), "sphere": ("sphere", "ball", "globe"),
    "cylinder": ("cylinder", "column", "drum"), "cone": ("cone", "spire"), "torus": ("torus", "ring", "donut"),
    "rounded box": ("rounded cube", "cushion shape", "box"), "blob": ("blob", "sculpture", "figure"),
    "vase": ("vase", "pot"), "twisted column": ("twisted column", "sculpture"), "rock": ("rock", "boulder"),
}  # fmt: skip
ANY_NOUN = ("object", "shape", "sculpture", "thing", "form", "model", "statue", "prop")
SAME = (
    "{a}", "{a}", "{a}", "{a} {noun}", "a {noun} made of {a}", "everything made of {a}", "{a} texture", "{a} surface",
    "all {a}", "a scene of {a}", "{a} material", "{a}, close view",
)  # fmt: skip
SAME_WALL = ("{a} wall", "a {a} wall", "{a} wall", "wall of {a}", "{a} room", "{a}")
ON = (
    "{a} {noun} on {g}", "{a} on {g}", "a {noun} of {a} on {g}", "a {a} {noun} on a {g} floor",
    "{a} {noun}, {g} ground", "{a} standing on {g}", "{a} {noun} over {g}",
)  # fmt: skip
ON_WALL = ("{a} wall on {g}", "a {a} wall on {g}", "{a} wall, {g} floor", "wall of {a} on {g}")
TWO = (
    "{a} and {b} on {g}", "{a} {noun} and {b} {noun2} on {g}", "{a} {noun} beside {b} {noun2}, {g} ground",
    "{a} and {b}", "objects of {a} and {b} on {g}",
)  # fmt: skip
HELD_OUT_TEMPLATES = (
    "a {noun} built from {a}", "picture of {a}", "{a}, as far as the eye can see", "something carved out of {a}",
    "my {noun} should be {a}",
)  # fmt: skip
PREFIXES = ("", "", "", "", "a photo of ", "a render of ", "3d render of ", "beautiful ", "a picture showing ")
SUFFIXES = ("", "", "", "", ", detailed", ", highly detailed", ", realistic", ", high quality", ", sharp focus")
GROUNDS = (
    "sand", "grass", "cobblestone", "wooden planks", "concrete", "snow", "tiles", "gravel", "soil", "water", "marble",
    "checkerboard", "stone", "moss", "plaster", "neon grid", "sci-fi panels",
)  # fmt: skip
PLAIN_GROUNDS = ("concrete", "plaster", "clay", "slate")
INDEX = {material.name: index for index, material in enumerate(MATERIALS)}


@dataclass(frozen=True, slots=True)
class Caption:
    """What a picture shows: the words, and what they stand for. material: of the objects, by name."""

    text: str
    material: str
    light: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a scene is to wear. materials: names, one per slot, each in its own colour. light: by name."""

    materials: tuple[str, ...]
    light: str


def held_out_pair(material: str, light: str) -> bool:
    """Whether this material under this light is kept for evaluation. Flat light never is: texturing needs it."""
    return light != "flat" and zlib.crc32(f"{material}/{light}".encode()) % 11 == 0


def vocabulary_lines() -> list[str]:
    """Every phrase that captions are made of: the text the tokenizer's merges are learnt from."""
    lines = [phrase for material in MATERIALS for phrase in material.phrases]
    lines += [phrase for _, phrases in FINISHES.values() for phrase in phrases]
    lines += [phrase for light in LIGHTS.values() for phrase in light.phrases]
    lines += [*COLOUR_NAMES, *ANY_NOUN, *(noun for nouns in NOUNS.values() for noun in nouns)]
    templates = (*SAME, *SAME_WALL, *ON, *ON_WALL, *TWO, *PREFIXES, *SUFFIXES)
    return lines + [t.format(a="", b="", g="", noun="", noun2="") for t in templates]


@dataclass(frozen=True, slots=True)
class _Skin:
    """One material as worn: indices into MATERIALS, COLOUR_NAMES and FINISH_NAMES, -1 for none."""

    material: int
    colour: int
    finish: int

    def words(self, rng: random.Random) -> str:
        material = MATERIALS[self.material]
        text = rng.choice((material.phrases[0], material.phrases[0], *material.phrases))
        if self.colour >= 0:
            colour = COLOUR_NAMES[self.colour]
            text = text.removeprefix("red ").removeprefix("white ").removeprefix("yellow ").removeprefix("grey ")
            text = f"{colour} {text}"
        return f"{rng.choice(FINISHES[FINISH_NAMES[self.finish]][1])} {text}" if self.finish >= 0 else text


def _skin(rng: random.Random, names: tuple[str, ...] | None = None, plain: bool = False) -> _Skin:
    index = INDEX[rng.choice(names)] if names else rng.choices(range(len(MATERIALS)), WEIGHTS)[0]
    colour = rng.randrange(len(COLOUR_NAMES)) if MATERIALS[index].tint and not plain and rng.random() < 0.38 else -1
    finish = rng.randrange(len(FINISH_NAMES)) if not plain and rng.random() < 0.2 else -1
    return _Skin(index, colour, finish)


def dress(
    scene: Scene, seed: int, held_out: bool = False, orders: Sequence[Order] | None = None
) -> tuple[Look, list[Caption]]:
    """Materials, light and captions for every scene of the batch, decided by the seed alone.

    held_out: draw wordings and pairs of material and light that training never meets. orders: what each scene is to
    wear, instead of something drawn.
    """
    rng = random.Random(seed)
    count, slots = scene.kind.shape
    material = torch.zeros(count, slots, dtype=torch.long)
    finish = torch.full((count, slots), -1)
    tint, tinted = torch.zeros(count, slots, 3), torch.zeros(count, slots, dtype=torch.bool)
    light, captions = torch.zeros(count, dtype=torch.long), []
    kinds = scene.kind.tolist()
    for row in range(count):
        skins, caption = _ordered(orders[row]) if orders is not None else _one(kinds[row], rng, held_out)
        light[row] = LIGHT_NAMES.index(caption.light)
        captions.append(caption)
        for slot, skin in enumerate(skins):
            material[row, slot], finish[row, slot] = skin.material, skin.finish
            if skin.colour >= 0:
                tint[row, slot], tinted[row, slot] = linear(COLOURS[COLOUR_NAMES[skin.colour]]), True
    generator = torch.Generator().manual_seed(seed)
    grain = torch.exp((torch.rand(count, 1, generator=generator) - 0.5) * 0.7).expand(count, slots)
    heights = torch.tensor([preset.height for preset in LIGHTS.values()])[light]
    height = heights.mean(1) + (heights[:, 1] - heights[:, 0]) * _jitter(count, 0.3, generator)
    # The light comes over the viewer's left shoulder, as in most drawings: then what a picture looks like follows from
    # words and geometry, and a small model learns to shade. Were it from anywhere, the best guess would be no shading.
    behind = scene.view[:, 2, :3]
    azimuth = torch.atan2(behind[:, 1], behind[:, 0]) - KEY_LIGHT_ANGLE + _jitter(count, KEY_LIGHT_SPREAD, generator)
    sun = torch.stack([azimuth.cos() * height.cos(), azimuth.sin() * height.cos(), height.sin()], dim=-1)
    random_numbers = torch.rand(count, slots, 8, generator=generator)
    mood = torch.rand(count, 4, generator=generator)
    return Look(material, finish, tint, tinted, grain, random_numbers, light, sun, mood), captions


def _jitter(count: int, spread: float, generator: torch.Generator) -> Tensor:
    """(B,) evenly in ± spread / 2."""
    return (torch.rand(count, generator=generator) - 0.5) * spread


def _one(kinds: list[int], rng: random.Random, held_out: bool) -> tuple[list[_Skin], Caption]:
    objects = [slot for slot in range(3, len(kinds)) if kinds[slot]]
    has_ground, has_wall = bool(kinds[0]), bool(kinds[1])
    a, b = _skin(rng), _skin(rng)
    ground = _skin(rng, GROUNDS) if rng.random() < 0.7 else _skin(rng)
    light = _light(rng, a, held_out)
    nouns = [rng.choice(_nouns(kinds[slot])) for slot in objects] or ["wall"]
    noun = rng.choice((nouns[0], rng.choice(ANY_NOUN)))
    noun2 = nouns[1] if len(nouns) > 1 else noun
    skins = [a] * len(kinds)
    mode = rng.random()
    if mode < 0.4 or not (has_ground or len(objects) > 1):
        template = rng.choice(SAME_WALL if has_wall and rng.random() < 0.6 else SAME)
    elif mode < 0.5 and has_ground:
        skins[0] = skins[1] = skins[2] = _skin(rng, PLAIN_GROUNDS, plain=True)
        template = rng.choice(SAME[:6]) if objects else rng.choice(SAME_WALL)
        skins[1:3] = [a, a] if not objects else skins[1:3]
    elif (mode < 0.82 or len(objects) < 2) and has_ground:
        skins[0] = ground
        wall = has_wall and (not objects or rng.random() < 0.6)
        skins[1] = skins[2] = a if wall else ground
        template = rng.choice(ON_WALL if wall else ON)
    else:
        skins[0] = skins[1] = skins[2] = ground
        for order, slot in enumerate(objects):
            skins[slot] = (a, b)[order % 2]
        template = rng.choice(TWO[:3] if has_ground else TWO[3:4])
    if held_out and "{g}" not in template and "{b}" not in template:
        template = rng.choice(HELD_OUT_TEMPLATES)
    words = template.format(a=a.words(rng), b=b.words(rng), g=ground.words(rng), noun=noun, noun2=noun2)
    text = rng.choice(PREFIXES) + words
    if light == "flat" or light not in ("daylight", "studio", "overcast") or rng.random() < 0.55:
        said = rng.choice(LIGHTS[light].phrases)
        text = f"{text}, {said}" if rng.random() < 0.6 or light == "flat" else f"{text} {said}"
    text += rng.choice(SUFFIXES)
    return skins, Caption(text, MATERIALS[a.material].name, light)


def _ordered(order: Order) -> tuple[list[_Skin], Caption]:
    first = order.materials[-1]
    return [_Skin(INDEX[name], -1, -1) for name in order.materials], Caption(first, first, order.light)


def _nouns(kind: int) -> tuple[str, ...]:
    return ANY_NOUN if kind == OTHER else NOUNS[KINDS[kind]] + ANY_NOUN[:1]


def _light(rng: random.Random, skin: _Skin, held_out: bool) -> str:
    name = MATERIALS[skin.material].name
    weights = [LIGHT_WEIGHTS.get(light, 1.0) for light in LIGHT_NAMES]
    wanted = [
        weight * (held_out == held_out_pair(name, light)) for light, weight in zip(LIGHT_NAMES, weights, strict=True)
    ]
    return rng.choices(LIGHT_NAMES, wanted if any(wanted) else weights)[0]
