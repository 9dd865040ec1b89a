"""What an object is: as its owner says, or as names tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import bpy
from scumble_shared.ade20k import guessed_kind, kind_named

__all__ = ["collections_of", "guess", "kind_of", "said"]

_guessed = lru_cache(maxsize=4096)(guessed_kind)
"""Of a tuple of names; live mode asks for the same ones again and again."""


def said(thing: bpy.types.Object) -> str:
    """What its owner says it is; "" for nothing that ADE20K knows."""
    return kind_named(thing.scumble_region.kind) or ""


def guess(thing: bpy.types.Object, collections: Iterable[str]) -> str:
    """By its names, its mesh's, its materials' and its collections', in that order; "" if none tells."""
    materials = (slot.material.name for slot in thing.material_slots if slot.material is not None)
    own = (thing.name, *((thing.data.name,) if thing.data is not None else ()), *materials, *collections)
    return _guessed(own) or ""


def kind_of(thing: bpy.types.Object, collections: Mapping[int, tuple[str, ...]]) -> str:
    """collections: as :func:`collections_of` has them."""
    return said(thing) or guess(thing, collections.get(thing.session_uid, ()))


def collections_of(things: Iterable[bpy.types.Object]) -> dict[int, tuple[str, ...]]:
    """Names of the collections that objects are in, by the object's ``session_uid``; asked of all collections once,
    since each object would ask them all."""
    wanted = {thing.session_uid for thing in things}
    found: dict[int, tuple[str, ...]] = {}
    for collection in bpy.data.collections:
        for thing in collection.objects:
            uid = thing.session_uid
            if uid in wanted:
                found[uid] = (*found.get(uid, ()), collection.name)
    return found
