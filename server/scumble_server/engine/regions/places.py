"""Where the regions of a job are, in its picture or in its views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, Region, TextureJob
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ...texturing.mesh import Mesh
from ...texturing.render import render_view
from ..conditioning import view_buffers
from ..pixels import mask_array
from .masks import shares

__all__ = ["Regional", "regions_of_picture", "regions_of_views"]


@dataclass(frozen=True, slots=True)
class Regional:
    """Regions of which something is seen.

    prompts: of each region one for all pictures, or one for each. weights: of each region. masks: float32 V x R x H x
    W, 0 to 1, of what is generated; V is 1 where all pictures have the same.
    """

    prompts: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...]
    masks: Tensor

    def part(self, pictures: Sequence[int]) -> Regional | None:
        """Of some of the pictures alone, each of which has its own masks; None if nothing is seen in them."""
        return _seen(
            replace(
                self,
                prompts=tuple(tuple(texts[index] for index in pictures) for texts in self.prompts),
                masks=self.masks[list(pictures)],
            )
        )

    def shares(self, size: tuple[int, int]) -> Tensor:
        """The part of each prompt, the picture's own first; see :func:`.masks.shares`. size: rows and columns."""
        return shares(self.masks, self.weights, size)


def regions_of_picture(
    job: GenerateJob, tensors: Mapping[Digest, AnyArray], placed: Callable[[AnyArray], AnyArray]
) -> Regional | None:
    """placed: of a mask of the job's size, uint8: the same as it lies in what is generated. None if none is seen.

    Raises ScumbleError INVALID_FIELD for objects without a buffer of ids, and masks that are none.
    """
    if not job.regions:
        return None
    ids = None
    if job.view is not None and job.view.object_id is not None:
        ids = view_buffers(replace(job.view, depth=None, normal=None, color=None), tensors).object_id
    masks = [
        placed(mask_array(_mask(region, index, ids, tensors), job.width, job.height, f"job.regions[{index}].mask"))
        for index, region in enumerate(job.regions)
    ]
    whole = torch.from_numpy(np.stack(masks))[None].float() / 255.0
    return _seen(Regional(_prompts(job.regions, [""]), _weights(job.regions), whole))


def _mask(region: Region, index: int, ids: AnyArray | None, tensors: Mapping[Digest, AnyArray]) -> AnyArray:
    if region.mask is not None:
        return tensors[region.mask]
    if ids is None:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"job.regions[{index}] names objects, which are found in this buffer",
            field="job.view.object_id",
        )
    return np.isin(ids, region.objects).astype(np.uint8) * 255


def regions_of_views(
    job: TextureJob, meshes: Sequence[Mesh], cameras: Sequence[Camera], words: Sequence[str]
) -> Regional | None:
    """words: added to the prompts of each view. None if no view sees any."""
    if not job.regions:
        return None
    inside = torch.tensor(
        [[mesh.object_id in region.objects for region in job.regions] for mesh in meshes] + [[False] * len(job.regions)]
    )
    # What no mesh is at, -1, is the last row.
    seen = [inside[render_view(meshes, camera).mesh.cpu().long()].permute(2, 0, 1) for camera in cameras]
    return _seen(Regional(_prompts(job.regions, words), _weights(job.regions), torch.stack(seen).float()))


def _prompts(regions: Sequence[Region], words: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(", ".join(text for text in (region.prompt, more) if text.strip()) for more in words) for region in regions
    )


def _weights(regions: Sequence[Region]) -> tuple[float, ...]:
    return tuple(region.weight for region in regions)


def _seen(regional: Regional) -> Regional | None:
    """Without the regions that nothing is seen of."""
    some = regional.masks.amax(dim=(0, 2, 3)) > 0.0
    kept = [index for index, weight in enumerate(regional.weights) if weight > 0.0 and bool(some[index])]
    if not kept:
        return None
    return Regional(
        tuple(regional.prompts[index] for index in kept),
        tuple(regional.weights[index] for index in kept),
        regional.masks[:, kept],
    )
