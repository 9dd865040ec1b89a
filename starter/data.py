"""Training samples made on the device: pictures, their control images and captions. No files are needed.

The control images come from the functions the server uses, so the model learns exactly what it will be shown.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from captions import Caption, Order, dress
from captured import Captured
from render import Baked, Look, render
from scenes import Buffers, Scene, Window, random_scenes, trace
from scumble_server.engine.conditioning.control import VIRTUAL_FIELD_OF_VIEW
from scumble_server.engine.conditioning.depth import depth_image
from scumble_server.engine.conditioning.normal import normal_image
from torch import Tensor
from views import HELD_OUT_SEED

__all__ = ["HELD_OUT_SEED", "NO_MATERIAL", "Sample", "control_images", "make"]

CAPTURED_SEED = 4_000_000_000
"""Added to a batch's seed for its captured part, so that it isn't dressed like the rest."""
NO_MATERIAL = 255

Record = TypeVar("Record", Scene, Look)


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch. image, depth, normal: uint8 B x 3 x H x W. normals: float B x H x W x 3 in view space and mask bool
    B x H x W, the truth that the judges want. material: uint8 B x H x W, index into materials.MATERIALS, NO_MATERIAL
    where nothing is hit."""

    image: Tensor
    depth: Tensor
    normal: Tensor
    normals: Tensor
    mask: Tensor
    material: Tensor
    captions: list[Caption]


def _to(record: Record, device: torch.device) -> Record:
    return type(record)(*(getattr(record, field.name).to(device) for field in fields(record)))


@torch.no_grad()
def make(
    count: int,
    seed: int,
    size: int,
    device: torch.device,
    *,
    captured: Captured | None = None,
    share: float = 1.0,
    orders: Sequence[Order] | None = None,
    window: Window | None = None,
) -> Sample:
    """``count`` square samples decided by the seed alone.

    captured: views that take that share of the batch, the last samples of it. orders: what each sample is to wear.
    window: make only that part of the pictures.
    Raises ValueError where captured views of evaluation meet a seed of training, or the other way round.
    """
    held_out = seed >= HELD_OUT_SEED
    shared = 0
    if captured is not None:
        if captured.held_out != held_out:
            raise ValueError("evaluation's captured views go with evaluation's seeds, and training's with training's")
        shared = math.floor(count * share + random.Random(seed).random())
    traced, parts = count - shared, []
    with torch.autocast(device.type, enabled=False):
        if traced:
            parts.append(_traced(traced, seed, size, device, held_out, orders and orders[:traced], window))
        if shared and captured is not None:
            parts.append(_captured(captured, shared, seed, held_out, orders and orders[traced:], window))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _traced(
    count: int,
    seed: int,
    size: int,
    device: torch.device,
    held_out: bool,
    orders: Sequence[Order] | None,
    window: Window | None,
) -> Sample:
    scene = random_scenes(count, torch.Generator().manual_seed(seed), held_out)
    look, captions = dress(scene, seed, held_out, orders)
    scene, look = _to(scene, device), _to(look, device)
    return _painted(scene, look, trace(scene, size, size, window), None, captions)


def _captured(
    captured: Captured, count: int, seed: int, held_out: bool, orders: Sequence[Order] | None, window: Window | None
) -> Sample:
    chosen = torch.randint(len(captured), (count,), generator=torch.Generator().manual_seed(seed))
    shot = captured.shot(chosen, window)
    look, captions = dress(shot.dressing(), seed + CAPTURED_SEED, held_out, orders)
    look, baked = shot.worn(_to(look, captured.device))
    return _painted(shot.scene, look, shot.buffers, baked, captions)


def _painted(scene: Scene, look: Look, buffers: Buffers, baked: Baked | None, captions: list[Caption]) -> Sample:
    image = render(scene, look, buffers, baked).permute(0, 3, 1, 2)
    rows = torch.arange(len(look.material), device=look.material.device)[:, None, None]
    material = torch.where(buffers.slot >= 0, look.material[rows, buffers.slot.clamp(0)], NO_MATERIAL)
    return Sample(
        image=_bytes(image),
        **control_images(scene, buffers),
        normals=buffers.view_normal(scene.view),
        mask=torch.isfinite(buffers.depth),
        material=material.to(torch.uint8),
        captions=captions,
    )


def control_images(scene: Scene, buffers: Buffers) -> dict[str, Tensor]:
    """uint8 B x 3 x H x W by kind, as the server makes them."""
    # An orthographic camera has no eye: the server's rule puts one at this distance.
    eye = scene.window / math.tan(VIRTUAL_FIELD_OF_VIEW / 2)
    parallel = scene.parallel[:, None, None, None]
    depth = torch.where(parallel, depth_image(buffers.depth, virtual_distance=eye), depth_image(buffers.depth))
    return {"depth": _bytes(depth), "normal": _bytes(normal_image(buffers.view_normal(scene.view)))}


def _joined(parts: Sequence[Sample]) -> Sample:
    names = [field.name for field in fields(Sample) if field.name != "captions"]
    tensors = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Sample(**tensors, captions=[caption for part in parts for caption in part.captions])


def _bytes(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255.0 + 0.5).to(torch.uint8)
