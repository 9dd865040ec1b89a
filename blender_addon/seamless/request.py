"""The job of a seamless material, of the scene's settings."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray, Digest

from ..apply.materials import editable_object
from ..jobs import Target
from ..references.request import references_of
from ..request import SEED_LIMIT, Request, loras_of, maps_of
from .material import About

__all__ = ["seamless"]

OWN = {"projection", "scale", "as_asset"}
"""Settings that decide the material, not the picture."""

NEVER_GIVEN = {"view", "controls", "noise_anchor", "task", "batch_size"}
"""Fields of a job that make no sense for a picture of nothing in particular."""


def seamless(context: bpy.types.Context, objects: Sequence[bpy.types.Object], **overrides: Any) -> Request:
    """What the settings ask for. objects: that get the material. overrides: fields of GenerateJob, and ``projection``
    ("FLAT" or "BOX"), ``scale`` and ``as_asset``.

    Raises ScumbleError SCENE for objects whose materials can't be changed, INVALID_FIELD for settings there aren't.
    """
    settings, own = context.scene.scumble, context.scene.scumble_seamless
    _check(overrides)
    surfaces = [thing for thing in objects if hasattr(thing.data, "materials")]
    if objects and not surfaces:
        raise ScumbleError(ErrorCode.SCENE, "none of the selected objects has a surface", field="objects")
    for thing in surfaces:
        editable_object(thing)
    chosen = {name: overrides.pop(name, getattr(own, name)) for name in OWN}
    if "seed" not in overrides and not settings.lock_seed:
        settings.seed = secrets.randbelow(SEED_LIMIT)
    tensors: dict[Digest, AnyArray] = {}
    job = GenerateJob(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        model=settings.model_id,
        width=own.size,
        height=own.size,
        sampler=settings.sampler,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
        tiling=own.tiling,
        loras=loras_of(settings),
        references=() if "references" in overrides else references_of(context.scene, tensors),
        **maps_of(settings),
    )
    about = About(tuple(thing.session_uid for thing in surfaces), **chosen)
    return Request(replace(job, **overrides), tensors, Target(context.scene.session_uid, about=about))


def _check(overrides: dict[str, Any]) -> None:
    known = (set(GenerateJob.__dataclass_fields__) | OWN) - NEVER_GIVEN
    for name in overrides:
        if name not in known:
            message = f"there is no setting {name!r}; there are {', '.join(sorted(known))}"
            raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=name)
    if overrides.get("projection", "FLAT") not in ("FLAT", "BOX"):
        raise ScumbleError(ErrorCode.INVALID_FIELD, "projection is FLAT or BOX", field="projection")
