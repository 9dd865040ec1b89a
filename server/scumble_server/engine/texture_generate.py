"""The pictures of a texture job: all views denoised together, or one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from scumble_shared.job import TextureJob
from scumble_shared.tensor import AnyArray

from ..service import JobHooks
from ..texturing.mesh import Mesh
from ..texturing.sync import SyncPlan, SyncSchedule, plan_sync
from .denoise import AtOnce, Extension, Text, denoise
from .extensions.controls import ActiveControl, Controls
from .extensions.inpaint import ShowMasked
from .extensions.shared_attention import SharedAttention, neighbours, shared_attention
from .extensions.synchronise import Contact, Synchronise
from .family import LoadedModel
from .generate import schedule, texts_of
from .latents import decode, draw, encode, generators_for, moments
from .pixels import image_array, to_unit_range
from .regions import Regional, engaged, texts_for
from .texture_views import WorkView

__all__ = [
    "ENCODED",
    "GENERATED",
    "Painting",
    "beginning",
    "denoised_together",
    "paint_synchronised",
    "sync_plan",
]

ENCODED, GENERATED = 0.05, 0.9
"""Fractions of a whole job after which all is prepared, and the pictures are there."""

OVERSAMPLING = 4
"""Side of the texture that views meet in, in sides of a view: twice round the object at the views' own resolution."""

LOCKED_IMPORTANCE = 4.0
"""A locked view counts this many times as much as one that is being made, until it is."""

CPU_LATENTS = 4 * 64 * 64
"""Latent pixels shown to the UNet at once on a CPU, whose memory runs out without a word."""


@dataclass(frozen=True, slots=True)
class Painting:
    """What generating needs. controls: with a picture for each view. regional: with masks for each view."""

    job: TextureJob
    model: LoadedModel
    meshes: Sequence[Mesh]
    views: Sequence[WorkView]
    controls: Sequence[ActiveControl]
    hooks: JobHooks
    regional: Regional | None = None

    @property
    def free(self) -> list[int]:
        """Views to be generated."""
        return [index for index, view in enumerate(self.views) if not view.is_locked]

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns."""
        camera = self.views[0].camera
        return camera.height // self.model.scale, camera.width // self.model.scale

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return (self.model.latent_channels, *self.latent_size)

    @property
    def device(self) -> torch.device:
        return self.model.device.torch_device

    def part(self, views: Sequence[int], hooks: JobHooks) -> Painting:
        """Some of the views alone."""
        controls = [replace(control, image=control.image[list(views)]) for control in self.controls]
        return replace(
            self,
            views=[self.views[index] for index in views],
            controls=controls,
            hooks=hooks,
            regional=self.regional_of(views),
        )

    def regional_of(self, views: Sequence[int]) -> Regional | None:
        """What some of the views see of the regions."""
        return None if self.regional is None else self.regional.part(views)

    def text(self, views: Sequence[int], regional: Regional | None) -> Text:
        """What the network is told of some of the views. regional: of these."""
        prompts = [self.views[index].prompt for index in views]
        return texts_for(
            lambda texts: texts_of(self.job, self.model, texts), self.model, prompts, regional, self.latent_size
        )

    def controls_of(self, views: Sequence[int]) -> Controls:
        return Controls([replace(control, image=control.image[list(views)]) for control in self.controls])

    def known(self) -> torch.Tensor:
        """V x C x h x w clean latents: those of locked views, 0 for the others."""
        known = torch.zeros(len(self.views), *self.latent_shape, device=self.device)
        for index, view in enumerate(self.views):
            if view.image is not None:
                image = image_array(view.image, view.camera.width, view.camera.height, f"job.views[{index}].image")
                known[index] = moments(self.model, to_unit_range(image))[0][0]
        return known

    def unguided_inpainting(self, generators: Sequence[torch.Generator]) -> list[Extension]:
        """UNets made for inpainting are told that everything is to be painted."""
        if not self.model.is_for_inpainting:
            return []
        camera = self.views[0].camera
        nothing = encode(moments(self.model, torch.zeros(1, 3, camera.height, camera.width)), generators)
        return [ShowMasked(torch.ones(1, 1, *self.latent_size, device=self.device), nothing)]


def shared_side(size: tuple[int, int], meshes: int) -> int:
    """Side of the texture per mesh in which views of this size, rows and columns, meet."""
    return max(8, round(OVERSAMPLING * max(size) / math.sqrt(meshes)))


def paint_synchronised(painting: Painting) -> tuple[dict[int, AnyArray], dict[str, object]]:
    """Pictures of the free views by their number, uint8 or uint16 H x W x 3; and how they were made.

    Raises ScumbleError as :func:`.generate.generate` does, and JobCancelled.
    """
    job, model, free = painting.job, painting.model, painting.free
    plan = sync_plan(painting)
    known = painting.known()
    painting.hooks.check_cancelled()
    scheduler, timesteps = schedule(job, model, 1.0, painting.latent_size)
    noise, every = beginning(painting, plan)
    noisy = noise[free] * scheduler.init_noise_sigma
    latents, how = denoised_together(painting, plan, (scheduler, timesteps), noisy, known, every)
    return _decoded(painting, latents), how


def denoised_together(
    painting: Painting,
    plan: SyncPlan,
    scheduled: tuple[Any, torch.Tensor],
    latents: torch.Tensor,
    known: torch.Tensor,
    generators: Sequence[torch.Generator],
) -> tuple[torch.Tensor, dict[str, object]]:
    """Clean latents of the free views, of noisy ones, and how they were made.

    scheduled: as :func:`.generate.schedule` has it. known: V x C x h x w, of the locked views. generators: of all.
    """
    job, model, hooks, free = painting.job, painting.model, painting.hooks, painting.free
    scheduler, timesteps = scheduled
    own = [generators[index] for index in free]
    sharing = SharedAttention(neighbours([painting.views[index].camera for index in free], _front(painting)))
    before = painting.unguided_inpainting(own)
    after: list[Extension] = []
    if job.sync_end > 0.0:
        agreeing = SyncSchedule(until=job.sync_end)
        after += [sharing, Synchronise(plan, agreeing, free, known.to(plan.target.device))]
    after.append(Contact(model, hooks, (ENCODED, GENERATED), free, known))
    at_once = AtOnce(min(model.room.at_once or len(free), len(free)))
    if not model.device.is_gpu:
        rows, columns = painting.latent_size
        at_once.images = max(1, min(at_once.images, CPU_LATENTS // (rows * columns)))
    regional = painting.regional_of(free)
    text, controls = painting.text(free, regional), painting.controls_of(free)
    with (
        engaged(model, controls, timesteps, regional, painting.latent_size, job.quality, sharing.variant) as way,
        shared_attention(model.network.module, sharing),
    ):
        extensions = [*before, *way.extensions, *after]
        clean = denoise(way.network, scheduler, timesteps, latents, text, own, extensions, hooks, at_once)
    return clean, {"views_at_once": at_once.images}


def _front(painting: Painting) -> int:
    """Which of the free views shows the front; the first if none does."""
    words = [painting.views[index].words for index in painting.free]
    return words.index("front view") if "front view" in words else 0


def beginning(painting: Painting, plan: SyncPlan) -> tuple[torch.Tensor, list[torch.Generator]]:
    """Noise for all views, V x C x h x w, and the generators they go on with; whichever views are locked.

    Views that begin with one noise for one place agree on what to make of it.
    """
    generators = generators_for(painting.job.seed, len(painting.views))
    own = draw(painting.latent_shape, generators, plan.target.device)
    shared = plan.share_noise(own, torch.Generator("cpu").manual_seed(painting.job.seed % 2**63))
    return shared.to(painting.device), generators


def sync_plan(painting: Painting) -> SyncPlan:
    """In latents; locked views count more."""
    size = painting.latent_size
    cameras = [view.camera for view in painting.views]
    plan = plan_sync(painting.meshes, cameras, size, shared_side(size, len(painting.meshes)))
    forth = tuple(
        tuple(
            (index, replace(seen, border=seen.border * LOCKED_IMPORTANCE) if view.is_locked else seen)
            for (index, seen), view in zip(row, painting.views, strict=True)
        )
        for row in plan.forth
    )
    return replace(plan, forth=forth)


def _decoded(painting: Painting, latents: torch.Tensor) -> dict[int, AnyArray]:
    pictures = {}
    for place, index in enumerate(painting.free):
        painting.hooks.check_cancelled()
        painting.hooks.progress("decoding", place, len(painting.free), GENERATED)
        pictures[index] = decode(painting.model, latents[place : place + 1], painting.job.bit_depth)[0]
    return pictures
