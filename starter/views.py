"""Files of captured views: geometry buffers of Blender scenes in few bytes. numpy alone reads and writes them.

A file is a compressed .npz of N views of one size. Depth is kept in 14 bits between the nearest and the farthest
surface, of 1 / z where the camera has an eye and of z where it has none: planes are linear in it, so second
differences, which is what is stored, are nearly all zero. Normals are octahedral, 8 bits each way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FARTHEST", "GROUPS", "HELD_OUT_SEED", "KEY_LIGHT_ANGLE", "KEY_LIGHT_SPREAD", "KIND_NAMES", "NEAREST", "NOTHING",
    "PARTS", "SKY_STEP", "SUNS", "SUN_STEP", "Views", "decode_depth", "encode_depth", "from_octahedron", "load_views",
    "save_views", "to_octahedron",
]  # fmt: skip

PARTS = 24
"""Objects of a view that are told apart; further ones count as the first of their group."""
GROUPS = 8
"""What is dressed alike: 0 the ground, 1 and 2 walls, the rest objects."""
SUNS = 4
"""Directions of light whose shadows a view knows, from low to high."""
KEY_LIGHT_ANGLE, KEY_LIGHT_SPREAD = 0.8, 0.3
"""Radians by which the light stands to the left of the viewer, and the range around that."""
NOTHING = 255
HELD_OUT_SEED = 1_000_000_000
"""Scenes with seeds from here on are evaluation's."""
KIND_NAMES = ("none", "box", "prism", "pyramid", "gem", "sphere", "cylinder", "cone", "torus", "rounded box", "blob",
              "vase", "twisted column", "rock", "other")  # fmt: skip
"""scenes.KINDS and, last, what has no equation."""
SUN_STEP, SKY_STEP = 2, 2
"""Pixels per value of the shadows and of the open sky, each way."""

FARTHEST, NEAREST = 1, 16383
"""Codes of the farthest and the nearest depth; 0 is nothing."""

FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """N views of H x W pixels, top row first.

    depth: uint16 N x H x W, see :func:`encode_depth`; 0 where nothing is hit. normal: uint8 N x H x W x 2, view space.
    part: uint8 N x H x W index of the object, NOTHING where nothing is hit.
    lit: bool N x SUNS x H/2 x W/2, whether nothing stands between the surface and that light.
    open_sky: uint8 N x H/2 x W/2, share of the sky that the surface sees, 255 all of it.
    suns: float32 N x SUNS x 3, world space, unit, towards the light.
    view: float32 N x 4 x 4 world -> view. tan_half, window: float32 N as in :class:`scenes.Scene`. parallel: bool N.
    nearest, farthest: float32 N, the depths that the codes NEAREST and FARTHEST stand for.
    group: uint8 N x PARTS, what each part belongs to. kind: uint8 N x GROUPS, index into scenes.KINDS, 0 for none.
    centre: float32 N x PARTS x 3, rotation: float32 N x PARTS x 3 x 3, object -> world.
    source: int32 N x 2, the scene's kind and seed.
    """

    depth: NDArray[np.uint16]
    normal: NDArray[np.uint8]
    part: NDArray[np.uint8]
    lit: NDArray[np.bool_]
    open_sky: NDArray[np.uint8]
    suns: NDArray[np.float32]
    view: NDArray[np.float32]
    tan_half: NDArray[np.float32]
    window: NDArray[np.float32]
    parallel: NDArray[np.bool_]
    nearest: NDArray[np.float32]
    farthest: NDArray[np.float32]
    group: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    centre: NDArray[np.float32]
    rotation: NDArray[np.float32]
    source: NDArray[np.int32]

    @staticmethod
    def joined(parts: list[Views]) -> Views:
        """All views of several sets, in order."""
        return Views(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Views)))


def encode_depth(depth: FloatArray, parallel: bool) -> tuple[NDArray[np.uint16], float, float]:
    """Planar depth H x W, inf where nothing is hit -> codes, nearest, farthest. Something must be hit."""
    hit = np.isfinite(depth)
    nearest, farthest = float(depth[hit].min()), float(depth[hit].max())
    value, low, high = (depth, farthest, nearest) if parallel else (1.0 / depth, 1.0 / farthest, 1.0 / nearest)
    span = high - low or 1.0
    code = FARTHEST + np.where(hit, (value - low) / span, 0.0) * (NEAREST - FARTHEST)
    return np.where(hit, code + 0.5, 0).astype(np.uint16), nearest, farthest


def decode_depth(code: NDArray[np.uint16], parallel: bool, nearest: float, farthest: float) -> NDArray[np.float32]:
    """Planar depth, inf where nothing is hit."""
    low, high = (farthest, nearest) if parallel else (1.0 / farthest, 1.0 / nearest)
    value = low + (code.astype(np.float32) - FARTHEST) / (NEAREST - FARTHEST) * (high - low)
    return np.where(code > 0, value if parallel else 1.0 / value, np.inf).astype(np.float32)


def to_octahedron(normal: FloatArray) -> NDArray[np.uint8]:
    """Unit vectors ... x 3 -> uint8 ... x 2; zero vectors as some direction."""
    n = normal / np.maximum(np.abs(normal).sum(-1, keepdims=True), 1e-9)
    folded = (1.0 - np.abs(n[..., 1::-1])) * np.where(n[..., :2] >= 0.0, 1.0, -1.0)
    flat = np.where(n[..., 2:] < 0.0, folded, n[..., :2])
    return np.round((flat * 0.5 + 0.5) * 254.0).astype(np.uint8)


def from_octahedron(code: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 ... x 2 -> unit vectors ... x 3."""
    flat = code.astype(np.float32) / 127.0 - 1.0
    z = 1.0 - np.abs(flat).sum(-1, keepdims=True)
    below = np.maximum(-z, 0.0)
    n = np.concatenate([flat - np.where(flat >= 0.0, below, -below), z], axis=-1)
    return (n / np.linalg.norm(n, axis=-1, keepdims=True)).astype(np.float32)


def _differences(x: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Along both axes of N x H x W, wrapping round, small ones of either sign as small numbers."""
    bits = x.dtype.itemsize * 8
    x = np.diff(np.diff(x, axis=1, prepend=x.dtype.type(0)), axis=2, prepend=x.dtype.type(0))
    return (x << 1) ^ (0 - (x >> (bits - 1))).astype(x.dtype)


def _sums(x: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """The inverse of :func:`_differences`."""
    x = (x >> 1) ^ (0 - (x & 1)).astype(x.dtype)
    return np.cumsum(np.cumsum(x, axis=2, dtype=x.dtype), axis=1, dtype=x.dtype)


def save_views(path: Path, views: Views) -> None:
    """Readers only ever see whole files."""
    depth = _differences(views.depth)
    arrays = {field.name: getattr(views, field.name) for field in fields(Views)}
    arrays["depth"] = np.stack([depth >> 8, depth & 255]).astype(np.uint8)
    # Normals that mean nothing are made to compress.
    normal = np.where((views.part == NOTHING)[..., None], 127, views.normal).astype(np.uint8)
    arrays["normal"] = np.stack([_differences(normal[..., i]) for i in range(2)])
    arrays["part"] = _differences(views.part)
    arrays["lit"] = np.packbits(views.lit, axis=-1)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    temporary.replace(path)


def load_views(path: Path) -> Views:
    with np.load(path, allow_pickle=False) as file:
        arrays = {field.name: file[field.name] for field in fields(Views)}
    high, low = arrays["depth"].astype(np.uint16)
    arrays["depth"] = _sums(high << 8 | low)
    arrays["normal"] = np.stack([_sums(part) for part in arrays["normal"]], axis=-1)
    arrays["part"] = _sums(arrays["part"])
    arrays["lit"] = np.unpackbits(arrays["lit"], axis=-1).astype(bool)
    return Views(**arrays)
