"""Whose bone is what: a person's joints by the names of bones, and OpenPose's points from where they are. No Blender.

Names of Rigify (the rig and its meta-rig), Mixamo, MakeHuman, Unreal's mannequin, 3ds Max's Biped, VRM, and whatever
calls limbs and sides by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scumble_shared.pose import BODY_POINTS, Point3, Pose

__all__ = ["BonePlace", "joints_of", "pose_of"]

FloatArray = NDArray[np.float64]

JOINTS: Mapping[str, tuple[str, ...]] = {
    "shoulder": ("upperarm", "uparm", "arm", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "elbow"),
    "wrist": ("hand", "wrist"),
    "hip": ("thigh", "upleg", "upperleg", "hip", "leg"),
    "knee": ("shin", "calf", "lowerleg", "lowleg", "knee", "leg"),
    "ankle": ("foot", "ankle"),
}
"""Joint -> bones that begin at it, the likeliest first; a bone is one joint's only."""

HEAD = ("head",)
RIGIFY_HEAD = ("spine", 6)
"""Rigify's skeleton has no bone called head: its spine goes on to the crown."""

FINGERS = (("thumb",), ("index",), ("middle",), ("ring",), ("pinky", "little"))
FINGER_PREFIXES = ("", "f", "hand", "finger")
FINGERS_NEEDED = 3

SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
NO_JOINTS = frozenset(
    (
        *("mch", "ctrl", "control", "ik", "fk", "tweak", "pole", "target", "master", "parent", "ref"),
        *("twist", "roll", "helper", "socket", "vis", "wgt", "tip", "nub"),
    )
)
"""Words in the names of bones that steer others, or are parts of them."""
OF_THE_RIG = frozenset(
    (
        *("def", "org", "bip", "biped", "valve", "j", "b", "c", "cc", "base", "mixamorig", "character"),
        *("rig", "armature", "skeleton", "sk", "bone", "bn"),
    )
)
RANKS = {"def": 0, "org": 2}
"""Rigify's copies of a bone: what deforms says best where it is."""

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

SHOULDERS_TO_HEAD = 0.6
"""Length of a head in widths of the shoulders, where its bone doesn't tell; from where it turns up to the crown."""
HEAD_LENGTHS = (0.3, 1.2)
UPRIGHT = 0.8

FACE: Mapping[str, tuple[float, float, float]] = {
    "nose": (0.0, 0.25, 0.62),
    "left_eye": (0.2, 0.45, 0.45),
    "left_ear": (0.42, 0.36, 0.05),
}
"""From where a head turns, in its lengths: to the left, up and to the front. Right is the mirror image."""


@dataclass(frozen=True, slots=True)
class BonePlace:
    """Where a bone is, in its armature's space: head and tail, (3,), and its matrix as posed and at rest, (4, 4)."""

    head: FloatArray
    tail: FloatArray
    matrix: FloatArray
    rest: FloatArray


@dataclass(frozen=True, slots=True)
class _Name:
    """side: "left", "right" or "". base: its words in one. numbers: in it. rank: of copies, the lowest is best."""

    side: str
    base: str
    numbers: tuple[int, ...]
    rank: int


@lru_cache(maxsize=64)
def joints_of(names: tuple[str, ...]) -> Mapping[str, str]:
    """Joint ("left_elbow", "head", "right_index_2", ...) -> name of the bone that begins at it. Kept: live mode asks
    for the same armatures many times, and a rig has hundreds of bones."""
    known = {name: read for name in names if (read := _read(name)) is not None}
    found: dict[str, str] = {}
    for side in ("left", "right"):
        taken: set[str] = set()
        for joint, bases in JOINTS.items():
            # Where thighs have a name of their own, "leg" is what is below the knee, and the other way round.
            if name := _first(known, side, [base for base in bases if base != "leg"], taken):
                found[f"{side}_{joint}"] = name
                taken.add(name)
        for joint in ("hip", "knee"):
            if f"{side}_{joint}" not in found and (name := _first(known, side, ["leg"], taken)):
                found[f"{side}_{joint}"] = name
                taken.add(name)
        found |= _fingers(known, side)
    head = _first(known, "", HEAD, set()) or _numbered(known, "", RIGIFY_HEAD[0], RIGIFY_HEAD[1:])
    return {**found, **({"head": head} if head else {})}


def pose_of(joints: Mapping[str, BonePlace], matrix_world: FloatArray) -> Pose | None:
    """The pose of an armature's person, in world space; None if its bones aren't named as anybody's.

    joints: by the names that :func:`joints_of` gives them. matrix_world: armature -> world.
    """
    points = {joint: place.head for joint, place in joints.items()}
    if not all(f"{side}_{joint}" in points for side in ("left", "right") for joint in ("shoulder", "elbow")):
        return None
    points["neck"] = (points["left_shoulder"] + points["right_shoulder"]) / 2.0
    if "head" in joints:
        points |= _face(joints)
    body = tuple(_world(points.get(name), matrix_world) for name in BODY_POINTS)
    left, right = (_hand(joints, side, matrix_world) for side in ("left", "right"))
    return Pose(body, left, right)


# --- names --------------------------------------------------------------------------------------------


def _read(name: str) -> _Name | None:
    """None for bones that are no joints."""
    words = [word.lower() for word in WORD.findall(name.rsplit(":", 1)[-1])]
    if NO_JOINTS & set(words):
        return None
    sides = [SIDES[word] for word in words if word in SIDES]
    letters = [word for word in words if not word.isdecimal() and word not in SIDES and word not in OF_THE_RIG]
    rank = next((rank for word, rank in RANKS.items() if word in words), 1)
    numbers = tuple(int(word) for word in _own_numbers(words))
    return _Name(sides[0] if sides else "", "".join(letters), numbers, rank)


def _own_numbers(words: list[str]) -> list[str]:
    """Without those of the rig, as in "Bip01 L Hand"."""
    return [
        word
        for number, word in enumerate(words)
        if word.isdecimal() and not (number and words[number - 1] in OF_THE_RIG)
    ]


def _first(known: Mapping[str, _Name], side: str, bases: Iterable[str], taken: set[str]) -> str:
    """The best bone of that side with one of these names, "" without one."""
    for base in bases:
        found = [name for name, read in known.items() if (read.side, read.base) == (side, base) and name not in taken]
        if found:
            return min(found, key=lambda name: (known[name].rank, known[name].numbers, name))
    return ""


def _numbered(known: Mapping[str, _Name], side: str, base: str, numbers: tuple[int, ...]) -> str:
    found = [name for name, read in known.items() if (read.side, read.base, read.numbers) == (side, base, numbers)]
    return min(found, key=lambda name: (known[name].rank, name), default="")


def _fingers(known: Mapping[str, _Name], side: str) -> dict[str, str]:
    """ "left_thumb_1", ... of fingers with three joints."""
    found: dict[str, str] = {}
    for number, words in enumerate(FINGERS):
        joints = []
        for joint in (1, 2, 3):
            bases = [prefix + word for word in words for prefix in FINGER_PREFIXES]
            names = [_numbered(known, side, base, (joint,)) for base in bases]
            names.append(_numbered(known, side, "finger", (number + 1, joint)))  # MakeHuman's
            joints.append(next((name for name in names if name), ""))
        if all(joints):
            found |= {f"{side}_{words[0]}_{joint}": name for joint, name in enumerate(joints, 1)}
    return found


# --- places -------------------------------------------------------------------------------------------


def _face(joints: Mapping[str, BonePlace]) -> dict[str, FloatArray]:
    """Nose, eyes and ears, which few rigs have bones for: where they are on people, turned as the head is."""
    left, right, head = (joints[name].rest[:3, 3] for name in ("left_shoulder", "right_shoulder", "head"))
    hips = [joints[name].rest[:3, 3] for name in ("left_hip", "right_hip") if name in joints]
    up = _unit((left + right) / 2.0 - sum(hips) / len(hips) if hips else head - (left + right) / 2.0)
    aside = left - right
    width = float(np.linalg.norm(aside))
    aside = _unit(aside - up * (aside @ up))
    front = np.cross(aside, up)
    own = joints["head"]
    length = float(np.linalg.norm(own.tail - own.head))
    is_upright = float(_unit(own.rest[:3, 1]) @ up) > UPRIGHT
    if not (is_upright and HEAD_LENGTHS[0] * width < length < HEAD_LENGTHS[1] * width):
        length = SHOULDERS_TO_HEAD * width
    moved = own.matrix @ np.linalg.inv(own.rest)
    points = {}
    for name, (across, above, before) in FACE.items():
        for twin, mirror in ((name, 1.0), (name.replace("left", "right"), -1.0)):
            at_rest = head + length * (mirror * across * aside + above * up + before * front)
            points[twin] = moved[:3, :3] @ at_rest + moved[:3, 3]
    return points


def _hand(joints: Mapping[str, BonePlace], side: str, matrix_world: FloatArray) -> tuple[Point3 | None, ...]:
    """None at all without its fingers."""
    fingers = [[joints.get(f"{side}_{words[0]}_{joint}") for joint in (1, 2, 3)] for words in FINGERS]
    whole = [all(place is not None for place in finger) for finger in fingers]
    if f"{side}_wrist" not in joints or sum(whole) < FINGERS_NEEDED:
        return ()
    points: list[FloatArray | None] = [joints[f"{side}_wrist"].head]
    for finger in fingers:
        known = [place for place in finger if place is not None]
        points += [*(place.head for place in known), known[-1].tail] if len(known) == 3 else [None] * 4
    return tuple(_world(point, matrix_world) for point in points)


def _world(point: FloatArray | None, matrix_world: FloatArray) -> Point3 | None:
    if point is None:
        return None
    x, y, z = matrix_world[:3, :3] @ point + matrix_world[:3, 3]
    return float(x), float(y), float(z)


def _unit(vector: FloatArray) -> FloatArray:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0.0 else vector)
