"""Views painted over once more, as the finished texture shows them: detail that one view has and another lacks meets.

What denoising changes is added to what the texture shows, so that the autoencoder's own losses don't count: where
nothing is changed, the picture is the texture's to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from scumble_shared.job import TextureJob
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..service import JobHooks
from ..texturing.color import as_numbers, display, linear_light
from ..texturing.textured import textured_view
from .generate import schedule
from .latents import colours, moments
from .pixels import rounded_up
from .texture_fuse import Finished
from .texture_generate import ENCODED, Painting, beginning, denoised_together, sync_plan
from .texture_views import WorkView

__all__ = ["larger", "rendered", "repainted"]


def larger(job: TextureJob, view: WorkView, multiple: int) -> WorkView:
    """The view at the size in which it is painted over."""
    width, height = (
        rounded_up(round(side * job.refine_scale), multiple) for side in (view.camera.width, view.camera.height)
    )
    return replace(view, camera=replace(view.camera, width=width, height=height))


def rendered(
    views: Sequence[WorkView], pictures: Mapping[int, AnyArray], finished: Sequence[Finished], hooks: JobHooks
) -> list[Tensor]:
    """Each view as the textures show it, float32 1 x 3 x H x W, sRGB, 0 to 1. pictures: of the views, for what is
    beside the meshes."""
    meshes = [item.mesh for item in finished]
    maps, textures = [item.texture.texels for item in finished], [item.composite() for item in finished]
    shown = []
    for index, view in enumerate(views):
        hooks.check_cancelled()
        hooks.progress("rendering", index, len(views), ENCODED * index / len(views))
        linear, hit = textured_view(meshes, maps, textures, view.camera)
        size = (view.camera.height, view.camera.width)
        beside = linear_light(pictures[index], linear.device).permute(2, 0, 1)[None]
        if beside.shape[2:] != size:
            beside = F.interpolate(beside, size, mode="bilinear", align_corners=False, antialias=True)
        mixed = torch.where(hit, linear, beside[0])
        shown.append(torch.from_numpy(display(mixed, 16).astype("float32"))[None] / 65535.0)
    return shown


def repainted(painting: Painting, shown: Sequence[Tensor]) -> tuple[dict[int, AnyArray], dict[str, object]]:
    """The free views painted over: pictures by number, and how they were made.

    painting: its views at the size of ``shown``. Raises as :func:`.texture_generate.paint_synchronised` does.
    """
    job, model, hooks, free = painting.job, painting.model, painting.hooks, painting.free
    plan = sync_plan(painting)
    scheduler, timesteps = schedule(job, model, job.refine_strength, painting.latent_size)
    known = painting.known()
    for index in free:
        hooks.check_cancelled()
        known[index] = moments(model, shown[index] * 2.0 - 1.0)[0][0]
    # Not the noise that the pictures came from: it would bring the same detail once more.
    other = replace(job, seed=job.seed + DEFAULT_LIMITS.views)
    noise, every = beginning(replace(painting, job=other), plan)
    latents = scheduler.add_noise(known[free], noise[free], timesteps[:1].repeat(len(free)))
    painted, how = denoised_together(painting, plan, (scheduler, timesteps), latents, known, every)
    pictures = {}
    for place, index in enumerate(free):
        hooks.check_cancelled()
        hooks.progress("decoding", place, len(free), 0.9)
        change = colours(model, painted[place : place + 1]) - colours(model, known[index : index + 1])
        picture = (shown[index].to(change.device) + change).clamp(0.0, 1.0)
        pictures[index] = as_numbers(picture[0].permute(1, 2, 0), job.bit_depth)
    return pictures, how
