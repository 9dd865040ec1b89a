"""Objects' prompts and kinds as jobs have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.job import Control, Label, Region
from scumble_shared.limits import DEFAULT_LIMITS

from ..capture import CapturedFrame
from .kinds import collections_of, kind_of, said

__all__ = ["kinds_of_meshes", "labels_of_frame", "prompted", "regions_of_frame", "regions_of_meshes", "wants_kinds"]

Wanted = tuple[str, float]
"""A prompt and its weight."""


def prompted(things: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """Those with a prompt of their own that acts."""
    return [thing for thing in things if _wanted(thing) is not None]


def wants_kinds(controls: Iterable[Control]) -> bool:
    """Whether anybody looks at what objects are."""
    return any(control.kind == "segmentation" for control in controls)


def regions_of_frame(scene: bpy.types.Scene, frame: CapturedFrame) -> tuple[tuple[Region, ...], str]:
    """Regions of what is seen, and a sentence about objects of the scene whose prompts are for nothing; "" for none.

    An object that shows instances says what they look like, whatever they say.
    """
    wanted = {thing.session_uid: _wanted(thing) for thing in prompted(bpy.data.objects)}
    if not wanted or frame.object_id is None:
        return (), ""
    seen = _seen(frame.object_id)
    by_id: dict[int, Wanted] = {}
    shown = set()
    for entry in frame.objects:
        found = wanted.get(entry.instancer_uid) or wanted.get(entry.session_uid)
        if found is not None and entry.id in seen:
            by_id[entry.id] = found
            shown |= {entry.instancer_uid, entry.session_uid}
    missing = [thing.name for thing in prompted(scene.objects) if thing.session_uid not in shown]
    return _regions(by_id), _unseen(missing)


def regions_of_meshes(objects: Mapping[int, bpy.types.Object]) -> tuple[Region, ...]:
    """objects: by the ids that a job's meshes have."""
    wanted = {number: _wanted(thing) for number, thing in objects.items()}
    return _regions({number: found for number, found in wanted.items() if found is not None})


def labels_of_frame(frame: CapturedFrame) -> tuple[Label, ...]:
    """What the objects that are seen are, as far as anybody can tell; the largest if there are very many."""
    if frame.object_id is None:
        return ()
    seen = _seen(frame.object_id)
    entries = sorted((entry for entry in frame.objects if entry.id in seen), key=lambda entry: -seen[entry.id])
    uids = {uid for entry in entries for uid in (entry.session_uid, entry.instancer_uid)}
    things = {thing.session_uid: thing for thing in bpy.data.objects if thing.session_uid in uids}
    collections = collections_of(things.values())
    kinds = {uid: kind_of(thing, collections) for uid, thing in things.items()}
    labels = []
    for entry in entries:
        instancer = things.get(entry.instancer_uid)
        kind = (said(instancer) if instancer else "") or kinds.get(entry.session_uid, "")
        kind = kind or kinds.get(entry.instancer_uid, "")
        if kind:
            labels.append(Label(entry.id, kind))
    return tuple(sorted(labels[: DEFAULT_LIMITS.labels], key=lambda label: label.object_id))


def kinds_of_meshes(objects: Sequence[bpy.types.Object]) -> list[str]:
    """What each is, "" where nobody can tell."""
    collections = collections_of(objects)
    return [kind_of(thing, collections) for thing in objects]


def _wanted(thing: bpy.types.Object) -> Wanted | None:
    own = thing.scumble_region
    prompt = own.prompt
    if not prompt or not own.enabled or not prompt.strip() or own.weight <= 0.0:  # asked of all objects, for each frame
        return None
    return prompt, round(own.weight, 4)


def _regions(wanted: Mapping[int, Wanted]) -> tuple[Region, ...]:
    """One for all objects of the same prompt and weight, in the order of the first of each."""
    groups: dict[Wanted, list[int]] = {}
    for number in sorted(wanted):
        groups.setdefault(wanted[number], []).append(number)
    return tuple(Region(prompt, objects=tuple(ids), weight=weight) for (prompt, weight), ids in groups.items())


def _seen(ids: NDArray[np.uint16]) -> dict[int, int]:
    """How many pixels each id has, of those that are there; without the background."""
    counts = np.bincount(ids.ravel())
    return {int(number): int(counts[number]) for number in np.nonzero(counts)[0] if number > 0}


def _unseen(names: Sequence[str]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"{names[0]} isn't in the picture, so its prompt changes nothing"
    return (
        f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} aren't in the picture; their prompts change nothing"
    )
