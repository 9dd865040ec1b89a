"""The pictures of a texture job one after the other: each keeps, refines or generates what those before it show.

After TEXTure (SIGGRAPH 2023): places seen before are kept, unless this view sees them far better; blended latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..texturing.color import as_numbers
from ..texturing.sync import SyncPlan, plan_sync
from .conditioning import to_bytes
from .denoise import Extension, Step, denoise
from .extensions.inpaint import ShowMasked
from .extensions.synchronise import Contact
from .generate import schedule
from .latents import decode, encode, moments
from .pixels import image_array, paste, to_unit_range
from .regions import engaged
from .texture_generate import ENCODED, GENERATED, Painting, beginning, sync_plan

__all__ = ["paint_sequentially"]

OVERSAMPLING = 2
"""Side of the texture that carries colours from view to view, in sides of a view."""

BETTER = 0.2
"""A view that sees a place with a cosine larger by this may improve it."""

POOR = 0.25
"""Places seen at a smaller cosine only are made anew: their colours are streaks."""

REFINE_FROM = 0.5
"""Part of the steps for which such a place is kept as it was."""


class Release(Extension):
    """What is known of an image holds each place until its time has come, as noisy as the rest is."""

    def __init__(self, scheduler: Any, timesteps: Tensor, until: Tensor, known: Tensor, noise: Tensor) -> None:
        """until: 1 x 1 x h x w, part of the steps for which a place is held; 0 not at all, 1 to the end.
        known, noise: 1 x C x h x w."""
        self._scheduler, self._timesteps = scheduler, timesteps
        self._until, self._known, self._noise = until, known, noise

    def after_step(self, step: Step, latents: Tensor) -> Tensor:
        known = self._known
        if step.index < step.count - 1:
            following = self._timesteps[step.index + 1]
            known = self._scheduler.add_noise(known, self._noise, following.reshape(1))
        return torch.where(self._until >= (step.index + 1) / step.count, known, latents)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is known of a view before it is made. picture: float32 1 x 3 x H x W in -1 to 1, grey where nothing is.
    held: 1 x 1 x H x W, part of the steps for which it stays."""

    picture: Tensor
    held: Tensor


def paint_sequentially(painting: Painting, better: float = BETTER) -> tuple[dict[int, AnyArray], dict[str, object]]:
    """As :func:`.texture_generate.paint_synchronised`. better: see :data:`BETTER`."""
    job, model, free = painting.job, painting.model, painting.free
    camera = painting.views[0].camera
    cameras = [view.camera for view in painting.views]
    noise, generators = beginning(painting, sync_plan(painting))
    side = max(8, round(OVERSAMPLING * max(camera.width, camera.height) / math.sqrt(len(painting.meshes))))
    plan = plan_sync(painting.meshes, cameras, (camera.height, camera.width), side)
    pictures = torch.zeros(len(cameras), 3, camera.height, camera.width, device=plan.target.device)
    for index, view in enumerate(painting.views):
        if view.image is not None:
            image = image_array(view.image, camera.width, camera.height, f"job.views[{index}].image")
            pictures[index] = to_unit_range(image)[0].to(pictures.device)
    latents = painting.known()
    done = [index for index, view in enumerate(painting.views) if view.is_locked]
    made = {}
    for place, index in enumerate(free):
        painting.hooks.check_cancelled()
        shown = _shown(plan, pictures, done, index, job.angle_exponent, better)
        share = (GENERATED - ENCODED) / len(free)
        span = (ENCODED + share * place, ENCODED + share * (place + 1))
        contact = Contact(model, painting.hooks, span, [index], latents, (place, len(free)))
        latents[index] = _denoised(painting, index, shown, noise[index : index + 1], generators[index], contact)[0]
        picture = decode(model, latents[index : index + 1], job.bit_depth)[0]
        made[index] = _pasted(picture, shown, model.scale // 2)
        pictures[index] = to_unit_range(made[index])[0].to(pictures.device)
        done.append(index)
    return made, {"views_at_once": 1}


def _denoised(
    painting: Painting, index: int, shown: _Shown, noise: Tensor, generator: torch.Generator, contact: Contact
) -> Tensor:
    job, model = painting.job, painting.model
    scheduler, timesteps = schedule(job, model, 1.0, painting.latent_size)
    # A latent pixel is held as long as all of its pixels are, so that nothing new is cut off.
    until = -F.max_pool2d(-shown.held, model.scale).to(painting.device)
    extensions: list[Extension] = []
    if model.is_for_inpainting:
        kept = (shown.held >= 1.0).float()
        visible = encode(moments(model, shown.picture * kept), [generator])
        extensions.append(ShowMasked((until < 1.0).float(), visible))
    elif bool((until > 0.0).any()):
        known = moments(model, shown.picture)[0]
        extensions.append(Release(scheduler, timesteps, until, known, noise))
    regional = painting.regional_of([index])
    text, controls = painting.text([index], regional), painting.controls_of([index])
    with engaged(model, controls, timesteps, regional, painting.latent_size, job.quality) as way:
        return denoise(
            way.network,
            scheduler,
            timesteps,
            noise * scheduler.init_noise_sigma,
            text,
            [generator],
            [*extensions, *way.extensions, contact],
            painting.hooks,
        )


def _pasted(image: AnyArray, shown: _Shown, radius: int) -> AnyArray:
    """What was held to the end is put back, fading in over twice the radius: an autoencoder changes all a little."""
    free = F.max_pool2d((shown.held < 1.0).float(), 2 * radius + 1, 1, radius)
    share = F.avg_pool2d(1.0 - free, 2 * radius + 1, 1, radius, count_include_pad=False)
    kept = as_numbers((shown.picture * 0.5 + 0.5)[0].permute(1, 2, 0), 8 * image.itemsize)
    return paste(kept, image, to_bytes(share)[0, ..., 0].cpu().numpy())


def _shown(
    plan: SyncPlan, pictures: Tensor, done: Sequence[int], index: int, exponent: float, better: float = BETTER
) -> _Shown:
    grey = torch.zeros_like(pictures[:1])
    if not done:
        return _Shown(grey, grey[:, :1])
    seen = replace(plan, forth=tuple(tuple(row[view] for view in done) for row in plan.forth))
    here = replace(plan, back=plan.back[index : index + 1])
    picture = here.render(*seen.fuse(pictures[list(done)], exponent), grey)
    before, now = (
        here.render(quality[None], quality, grey[:, :1]) for quality in (_quality(plan, done), _quality(plan, [index]))
    )
    held = torch.where(now > before + better, REFINE_FROM, 1.0)
    return _Shown(picture, torch.where(before > POOR, held, 0.0))


def _quality(plan: SyncPlan, views: Sequence[int]) -> Tensor:
    """Cosine at which the best of these views sees each texel, (texels,); 0 where none does."""
    best = torch.zeros(plan.texture, device=plan.target.device)
    for row in plan.forth:
        for index, seen in (row[view] for view in views):
            best[index] = torch.maximum(best[index], seen.cosine * (seen.border > 0.0))
    best[plan.target] = best[plan.source]
    return best
