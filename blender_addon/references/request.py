"""The scene's reference pictures as a job has them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Reference
from scumble_shared.tensor import AnyArray, Digest, digest_of

from ..connection.addressing import stand_in
from .pixels import mask_pixels, picture_pixels
from .properties import SCUMBLE_PG_reference

__all__ = ["known_pictures", "references_key", "references_of", "take_references"]


def references_of(
    scene: bpy.types.Scene, tensors: dict[Digest, AnyArray], *, masks: bool = True, fresh: bool = True
) -> tuple[Reference, ...]:
    """Those that act; their pictures go to ``tensors``. masks: the job has one frame, in which these have their places.
    fresh: see :func:`.pixels.picture_pixels`.

    Raises ScumbleError SCENE or TOO_LARGE for pictures that can't be read.
    """
    return tuple(_reference(entry, tensors, masks, fresh) for entry in _acting(scene))


def references_key(scene: bpy.types.Scene) -> tuple[object, ...]:
    """Equal as long as the same is asked for."""
    return tuple(
        (
            *(None if image is None else (image.session_uid, image.filepath) for image in (entry.image, entry.mask)),
            entry.weight,
            entry.use,
            entry.adapter_id,
            entry.start,
            entry.end,
        )
        for entry in _acting(scene)
    )


def known_pictures(
    scene: bpy.types.Scene, references: Sequence[Reference], tensors: dict[Digest, AnyArray], *, needed: bool
) -> tuple[Reference, ...]:
    """Those of an earlier job's references whose pictures are in the scene's list still, told by what they show; these
    go to ``tensors``. needed: the job paints.

    Raises ScumbleError SCENE if one that is needed isn't there any more.
    """
    pictures = scene.scumble_references.pictures if references else ()
    shown = [picture_pixels(entry.image) for entry in pictures if entry.image is not None]
    there = {digest_of(pixels): pixels for pixels in shown}
    found = tuple(reference for reference in references if reference.image in there)
    if needed and len(found) < len(references):
        message = "a reference picture of this texture isn't in the list any more; add it again, or texture anew"
        raise ScumbleError(ErrorCode.SCENE, message, field="references")
    tensors.update({reference.image: there[reference.image] for reference in found})
    return found


def take_references(scene: bpy.types.Scene, references: Sequence[Reference]) -> bool:
    """Has those of the list act that an earlier job had, as they acted there, and no others; whether all are there."""
    shown: dict[Digest, SCUMBLE_PG_reference] = {}
    for entry in scene.scumble_references.pictures:
        entry.enabled = False
        if references and entry.image is not None:
            with suppress(ScumbleError):  # of one that can't be read, nobody can tell
                shown.setdefault(digest_of(picture_pixels(entry.image)), entry)
    for reference in references:
        if (entry := shown.get(reference.image)) is not None:
            entry.enabled, entry.weight, entry.use = True, reference.weight, reference.use
            entry.adapter_id, entry.start, entry.end = reference.model, reference.start, reference.end
    return all(reference.image in shown for reference in references)


def _acting(scene: bpy.types.Scene) -> list[SCUMBLE_PG_reference]:
    return [entry for entry in scene.scumble_references.pictures if entry.enabled and entry.image is not None]


def _reference(entry: SCUMBLE_PG_reference, tensors: dict[Digest, AnyArray], masks: bool, fresh: bool) -> Reference:
    def stored(array: AnyArray) -> Digest:
        name = stand_in(array)
        tensors[name] = array
        return name

    return Reference(
        image=stored(picture_pixels(entry.image, fresh)),
        model=entry.adapter_id,
        weight=entry.weight,
        use=entry.use,
        start=min(entry.start, entry.end),
        end=entry.end,
        mask=stored(mask_pixels(entry.mask, fresh)) if masks and entry.mask is not None else None,
    )
