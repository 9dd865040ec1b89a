"""The job that enlarges an image, of the scene's settings."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, UpscaleJob

from ..choices import control_kinds_of
from ..connection.addressing import stand_in
from ..jobs import Target
from ..request import SEED_LIMIT, Request, loras_of
from ..state import session
from .pixels import image_pixels
from .properties import TILING_OF, method_and_upscaler
from .result import About

__all__ = ["enlarging"]

NEVER_GIVEN = {"image", "view", "task"}
"""Fields of a job that come from elsewhere."""


def enlarging(context: bpy.types.Context, image: bpy.types.Image, **overrides: Any) -> Request:
    """What the settings ask for. overrides: fields of UpscaleJob, and ``replace``: whether materials show it.

    Raises ScumbleError SCENE for images that can't be enlarged, INVALID_FIELD for settings there aren't.
    """
    settings, own = context.scene.scumble, context.scene.scumble_upscale
    in_materials = bool(overrides.pop("replace", own.replace))
    known = set(UpscaleJob.__dataclass_fields__) - NEVER_GIVEN
    for name in overrides:
        if name not in known:
            message = f"there is no setting {name!r}; there are replace, {', '.join(sorted(known))}"
            raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=name)
    if "seed" not in overrides and not settings.lock_seed:
        settings.seed = secrets.randbelow(SEED_LIMIT)
    method, upscaler = method_and_upscaler(own.method)
    tile = "tile" in control_kinds_of(session().capabilities, overrides.get("model", settings.model_id))
    pixels = image_pixels(image)
    name = stand_in(pixels)
    job = UpscaleJob(
        image=name,
        factor=int(own.factor),
        method=method,
        upscaler=upscaler,
        prompt=settings.prompt if own.use_prompt else "",
        negative_prompt=settings.negative_prompt,
        model=settings.model_id,
        sampler=settings.sampler,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
        denoising_strength=own.strength,
        controls=(Control("tile"),) if tile and method == "diffusion" else (),
        tiling=TILING_OF[own.tiling],
        loras=loras_of(settings) if method == "diffusion" else (),
        memory=settings.memory,
    )
    target = Target(context.scene.session_uid, about=About(image.session_uid, in_materials))
    return Request(replace(job, **overrides), {name: pixels}, target)
