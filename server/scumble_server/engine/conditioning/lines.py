"""Canny, lineart, soft edge, scribble from the geometry itself: white lines where depth, direction or object changes.

On a plane under perspective, inverse depth is an affine function of the pixel position, so its second difference is
zero however steep the plane lies. That makes a test for steps in depth that needs no slope allowance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .pixels import resize_nearest

__all__ = ["canny_image", "lineart_image", "scribble_image", "softedge_image"]

STEP = 0.02
"""Relative step in inverse depth, beyond what the surfaces on either side lead to expect, that is an outline."""
CANNY_CREASE = math.radians(30.0)
LINEART_CREASE = (math.radians(12.0), math.radians(50.0))
"""Angles between neighbouring normals drawn black and white."""
SOFT_FALL = (1.0, 0.75, 0.5, 0.25)
"""Brightness of a soft edge 0, 1, 2, 3 pixels from its middle."""
SCRIBBLE_REACH = 2
"""Pixels to either side of the middle of a scribbled line."""

Buffer = torch.Tensor | None


def canny_image(
    depth: Buffer, normal: Buffer, object_id: Buffer, size: tuple[int, int] | None = None, *, orthographic: bool = False
) -> torch.Tensor:
    """Lines one pixel wide, 0 or 1: outlines, steps in depth, creases of more than 30 degrees, borders of objects.

    depth B x H x W, normal B x H x W x 3, object_id B x H x W integers: as in :class:`scumble_shared.job.View`, at
    least one not None. size: (width, height) of the result; lines are found at that size when it is smaller (so that
    they stay thin), otherwise enlarged by nearest pixel. orthographic: depth is linear on planes, not its inverse.
    Returns float32 B x 3 x H x W.
    """

    def draw(depth: Buffer, normal: Buffer, object_id: Buffer) -> torch.Tensor:
        outline, angle = _changes(depth, normal, object_id, orthographic)
        return (outline | (angle > CANNY_CREASE)).float()

    return _at_size(draw, depth, normal, object_id, size)


def lineart_image(
    depth: Buffer, normal: Buffer, object_id: Buffer, size: tuple[int, int] | None = None, *, orthographic: bool = False
) -> torch.Tensor:
    """Soft lines two to three pixels wide; outlines are white, creases the brighter the sharper.

    Arguments and result as for :func:`canny_image`.
    """

    def draw(depth: Buffer, normal: Buffer, object_id: Buffer) -> torch.Tensor:
        outline, angle = _changes(depth, normal, object_id, orthographic)
        low, high = LINEART_CREASE
        strength = torch.maximum(outline.float(), ((angle - low) / (high - low)).clamp(0.0, 1.0))
        brush = torch.tensor([0.5, 1.0, 0.5], device=strength.device)
        kernel = (brush[:, None] * brush[None, :])[None, None]
        return F.conv2d(F.pad(strength[:, None], (1, 1, 1, 1)), kernel)[:, 0].clamp(max=1.0)

    return _at_size(draw, depth, normal, object_id, size)


def softedge_image(
    depth: Buffer, normal: Buffer, object_id: Buffer, size: tuple[int, int] | None = None, *, orthographic: bool = False
) -> torch.Tensor:
    """Lineart's lines under a soft brush seven pixels wide, as edge networks (HED, PiDiNet) draw them: an outline is
    white in its middle and falls off to both sides.

    Arguments and result as for :func:`canny_image`.
    """

    def draw(depth: Buffer, normal: Buffer, object_id: Buffer) -> torch.Tensor:
        outline, angle = _changes(depth, normal, object_id, orthographic)
        low, high = LINEART_CREASE
        strength = torch.maximum(outline.float(), ((angle - low) / (high - low)).clamp(0.0, 1.0))
        # The greatest of the weighted neighbours, not their sum: lines that meet don't grow brighter than white.
        return torch.stack([weight * _widened(strength, reach) for reach, weight in enumerate(SOFT_FALL)]).amax(0)

    return _at_size(draw, depth, normal, object_id, size)


def scribble_image(
    depth: Buffer, normal: Buffer, object_id: Buffer, size: tuple[int, int] | None = None, *, orthographic: bool = False
) -> torch.Tensor:
    """Canny's lines drawn with a pen five pixels wide, 0 or 1.

    Arguments and result as for :func:`canny_image`.
    """

    def draw(depth: Buffer, normal: Buffer, object_id: Buffer) -> torch.Tensor:
        outline, angle = _changes(depth, normal, object_id, orthographic)
        return _widened((outline | (angle > CANNY_CREASE)).float(), SCRIBBLE_REACH)

    return _at_size(draw, depth, normal, object_id, size)


def _widened(lines: torch.Tensor, reach: int) -> torch.Tensor:
    """B x H x W: the greatest value within ``reach`` pixels in both directions."""
    return F.max_pool2d(lines[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]


def _at_size(
    draw: Callable[[Buffer, Buffer, Buffer], torch.Tensor],
    depth: Buffer,
    normal: Buffer,
    object_id: Buffer,
    size: tuple[int, int] | None,
) -> torch.Tensor:
    buffers = (depth, normal, object_id)
    height, width = next(buffer for buffer in buffers if buffer is not None).shape[1:3]
    wanted = size or (width, height)
    drawn_at = (min(width, wanted[0]), min(height, wanted[1]))
    lines = draw(*(None if buffer is None else resize_nearest(buffer, *drawn_at) for buffer in buffers))
    return resize_nearest(lines, *wanted)[:, None].expand(-1, 3, -1, -1)


def _changes(depth: Buffer, normal: Buffer, object_id: Buffer, orthographic: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Per pixel: is it the near side of an outline (bool B x H x W), and the sharpest crease to its right or lower
    neighbour (radians B x H x W)."""
    some = next(buffer for buffer in (depth, normal, object_id) if buffer is not None)
    outline = torch.zeros(some.shape[:3], dtype=torch.bool, device=some.device)
    angle = torch.zeros(some.shape[:3], device=some.device)
    closeness = _closeness(depth, normal, object_id, orthographic)
    for dim in (1, 2):
        first, second = _pairs(closeness, dim)
        changed = torch.zeros_like(first, dtype=torch.bool)
        if object_id is not None:
            changed |= torch.ne(*_pairs(object_id.long(), dim))
        if depth is not None:
            changed |= _is_step(closeness, dim)
        if normal is not None:
            changed |= torch.ne(*_pairs(normal.any(dim=-1), dim))
            crease = _angle(*_pairs(normal.float(), dim)).masked_fill(changed, 0.0)
            angle = torch.maximum(angle, _pad_pairs(crease, dim, after=True))
        nearer_first = first >= second
        outline |= _pad_pairs(changed & nearer_first, dim, after=True)
        outline |= _pad_pairs(changed & ~nearer_first, dim, after=False)
    return outline, angle


def _closeness(depth: Buffer, normal: Buffer, object_id: Buffer, orthographic: bool) -> torch.Tensor:
    """B x H x W, affine on planes, greater is nearer, background lowest."""
    if depth is None:
        visible = object_id.bool() if object_id is not None else normal.any(dim=-1)  # type: ignore[union-attr]
        return visible.float()
    z = depth.float()
    if not orthographic:
        return 1.0 / z
    visible = torch.isfinite(z)
    nearest = z.amin(dim=(1, 2), keepdim=True)
    extent = (z.masked_fill(~visible, 0.0).amax(dim=(1, 2), keepdim=True) - nearest).clamp_min(1e-6)
    return torch.where(visible, 2.0 - (z - nearest) / extent, torch.zeros_like(z))


def _is_step(closeness: torch.Tensor, dim: int) -> torch.Tensor:
    """For each pair of neighbours along ``dim``: does neither side, continued straight on, meet the other?"""
    size = closeness.shape[dim]
    if size < 2:
        return torch.zeros_like(_pairs(closeness, dim)[0], dtype=torch.bool)
    first, second = _pairs(closeness, dim)
    before = torch.cat([first.narrow(dim, 0, 1), closeness.narrow(dim, 0, size - 2)], dim)
    after = torch.cat([closeness.narrow(dim, 2, size - 2), second.narrow(dim, size - 2, 1)], dim)
    ahead, back = (second - (2 * first - before)).abs(), (first - (2 * second - after)).abs()
    # At the border of the picture one side can't be continued; there the other decides.
    ahead.narrow(dim, 0, 1).copy_(back.narrow(dim, 0, 1))
    back.narrow(dim, size - 2, 1).copy_(ahead.narrow(dim, size - 2, 1))
    step = torch.minimum(ahead, back)
    # A round surface bends away just before its outline; of neighbouring steps only the largest is one.
    around = torch.cat([step.narrow(dim, 0, 1), step, step.narrow(dim, size - 2, 1)], dim).unfold(dim, 3, 1).amax(-1)
    return (step > STEP * torch.maximum(first, second)) & (step == around)


def _angle(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    cosine = F.cosine_similarity(first, second, dim=-1)
    return torch.where(first.any(dim=-1) & second.any(dim=-1), cosine.clamp(-1.0, 1.0).acos(), 0.0)


def _pairs(values: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each value along ``dim`` but the last, and its successor."""
    count = values.shape[dim] - 1
    return values.narrow(dim, 0, count), values.narrow(dim, 1, count)


def _pad_pairs(values: torch.Tensor, dim: int, *, after: bool) -> torch.Tensor:
    """Back to the full size: what is said of a pair goes to its first pixel (``after``) or to its second."""
    shape = list(values.shape)
    shape[dim] = 1
    filler = values.new_zeros(shape)
    return torch.cat([values, filler] if after else [filler, values], dim)
