"""Training samples made on the device: pictures, their control images and captions. No files are needed.

The control images come from the functions the server uses, so the model learns exactly what it will be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
import torch.nn.functional as F
from captions import Caption, dress
from render import Look, render
from scenes import Scene, random_scenes, trace
from scumble_server.engine.conditioning.control import VIRTUAL_FIELD_OF_VIEW
from scumble_server.engine.conditioning.depth import depth_image
from scumble_server.engine.conditioning.normal import normal_image
from torch import Tensor

__all__ = ["HELD_OUT_SEED", "Sample", "make"]

HELD_OUT_SEED = 1_000_000_000
"""Seeds from here on are evaluation's; training never uses them."""

Record = TypeVar("Record", Scene, Look)


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch. image, depth, normal: uint8 B x 3 x H x W. normals: float B x H x W x 3 in view space and mask bool
    B x H x W, the truth that the judges want."""

    image: Tensor
    depth: Tensor
    normal: Tensor
    normals: Tensor
    mask: Tensor
    captions: list[Caption]


def _to(record: Record, device: torch.device) -> Record:
    return type(record)(*(getattr(record, field.name).to(device) for field in fields(record)))


@torch.no_grad()
def make(count: int, seed: int, size: int, device: torch.device, supersample: int = 1, plain: bool = False) -> Sample:
    """``count`` square samples decided by the seed alone.

    supersample: rays per pixel edge for the picture. plain: one material a scene, see :func:`captions.dress`.
    """
    with torch.autocast(device.type, enabled=False):
        return _make(count, seed, size, device, supersample, plain)


def _make(count: int, seed: int, size: int, device: torch.device, supersample: int, plain: bool) -> Sample:
    held_out = seed >= HELD_OUT_SEED
    scene = random_scenes(count, torch.Generator().manual_seed(seed), held_out)
    look, captions = dress(scene, seed, held_out, plain)
    scene, look = _to(scene, device), _to(look, device)
    buffers = trace(scene, size, size)
    fine = buffers if supersample == 1 else trace(scene, size * supersample, size * supersample)
    image = render(scene, look, fine).permute(0, 3, 1, 2)
    if supersample > 1:
        image = F.avg_pool2d(image, supersample)
    normals = buffers.view_normal(scene.view)
    # An orthographic camera has no eye: the server's rule puts one at this distance.
    eye = scene.window / math.tan(VIRTUAL_FIELD_OF_VIEW / 2)
    parallel = scene.parallel[:, None, None, None]
    depth = torch.where(parallel, depth_image(buffers.depth, virtual_distance=eye), depth_image(buffers.depth))
    return Sample(
        _bytes(image), _bytes(depth), _bytes(normal_image(normals)), normals, torch.isfinite(buffers.depth), captions
    )


def _bytes(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255.0 + 0.5).to(torch.uint8)
