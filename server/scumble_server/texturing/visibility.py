"""What a view's depth buffer says of what it sees, prepared for looking up points; :mod:`.lookup` does that.

Away from depth edges the depth buffer is one smooth sheet: its inverse (or, orthographic, the depth itself) is
affine on every plane, so the bilinear value is what the point's own depth is compared with, and sloping surfaces need
no large tolerance. Near edges each of the four pixels around the point is judged on its own: the depth that the
point's plane has at that pixel's centre must be the buffer's, the object must be the same, and the mesh must turn
the same side to the camera. Only pixels that pass lend their colour: nothing is mixed across a silhouette.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

__all__ = [
    "CAREFUL",
    "MAX_SLOPE",
    "NO_OUTER_SIDE",
    "ViewGeometry",
    "depth_edges",
    "pixel_footprint",
    "pixel_size",
    "soft_border",
    "view_geometry",
]

NO_OUTER_SIDE, NO_INNER_SIDE, CAREFUL = 1, 2, 4
"""Marks of a pixel: which sides of a mesh can't be in view there; and that what is around it isn't one smooth surface.
"""

MAX_SLOPE = 10.0
"""Depth change per pixel footprint beyond which a surface counts as seen edge-on (84 degrees)."""

ROUNDING = {torch.float32: 1e-4, torch.float16: 6e-4}
"""Relative error of depth by number format: of the renderer's own for float32, of the format for float16."""


@dataclass(frozen=True, slots=True)
class ViewGeometry:
    """One view, prepared for look-ups. H x W is the buffers' size, the camera's.

    camera: whose picture may have another resolution, image_size (h, w). sheet: float32 (1, 2, H, W), inverse depth
    (orthographic: depth) and border factor. depth: float32 (H * W,), inf where nothing. marks: uint8 (H * W,), of
    CAREFUL and so on. inner_side_shows: whether an inner side of a mesh may be in view at all. object_id: int32
    (H * W,) or None. only_object: the id of all pixels that show anything, if they have the same. rounding: relative
    error of the depth. distrusted: pixels of the picture next to a depth edge whose border factor is below 1.
    """

    camera: Camera
    image_size: tuple[int, int]
    sheet: Tensor
    depth: Tensor
    marks: Tensor
    inner_side_shows: bool
    object_id: Tensor | None
    only_object: int | None
    rounding: float
    distrusted: int


def pixel_size(camera: Camera) -> float:
    """World size of a pixel, the larger of width and height: of an orthographic camera; of others at a depth of 1."""
    p = camera.projection_matrix
    return float(max(2.0 / (p[0, 0] * camera.width), 2.0 / (p[1, 1] * camera.height)))


def pixel_footprint(camera: Camera, depth: Tensor) -> Tensor:
    """The same at planar depths (any shape)."""
    unit = pixel_size(camera)
    return torch.full_like(depth, unit) if camera.is_orthographic else depth * unit


def view_geometry(
    camera: Camera,
    depth: Tensor,
    *,
    object_id: Tensor | None = None,
    facing: Tensor | None = None,
    image_size: tuple[int, int] | None = None,
    margin: int = 1,
    feather: int = 3,
) -> ViewGeometry:
    """Prepare a view.

    depth: float32 or float16 (H, W). object_id: int32 (H, W). facing: int8 (H, W). image_size: (h, w) of the pictures
    to come, the buffers' if None. margin, feather: pixels of the picture next to a depth edge that are distrusted
    wholly, and then less and less.
    """
    rounding = ROUNDING[depth.dtype]
    depth = depth.float()
    image_size = image_size or (camera.height, camera.width)
    scale = max(camera.height / image_size[0], camera.width / image_size[1])
    edges = depth_edges(camera, depth, object_id)
    reach = max(1, round(margin * scale)), max(1, round(feather * scale))
    border = soft_border(edges, *reach)
    careful = _uneven(camera, depth, rounding) | edges
    if facing is not None:
        careful |= _differs(facing)
    hit = depth < torch.inf
    marks = _grow(careful & hit, math.ceil(scale) + 1).to(torch.uint8) * CAREFUL
    if facing is not None:
        marks |= (facing < 0).to(torch.uint8) * NO_OUTER_SIDE
        marks |= (facing > 0).to(torch.uint8) * NO_INNER_SIDE
    finite = depth.clamp(max=1e30)
    sheet = finite if camera.is_orthographic else 1.0 / finite.clamp(min=1e-30)
    return ViewGeometry(
        camera=camera,
        image_size=image_size,
        sheet=torch.stack([sheet, border])[None],
        depth=depth.flatten(),
        marks=marks.flatten(),
        inner_side_shows=facing is None or bool((facing < 0).any()),
        object_id=None if object_id is None else object_id.flatten(),
        only_object=None if object_id is None else _only(object_id, hit),
        rounding=rounding,
        distrusted=margin + feather,
    )


def depth_edges(camera: Camera, depth: Tensor, object_id: Tensor | None = None) -> Tensor:
    """Pixels at a silhouette or depth discontinuity, bool (H, W), both sides of it.

    A step between neighbours is an edge if the slope on neither side explains it, or if the object changes.
    """
    edges, hit = torch.zeros_like(depth, dtype=torch.bool), depth < torch.inf
    for axis in (0, 1):
        length = depth.shape[axis]
        if length < 2:
            continue
        low, high = depth.narrow(axis, 0, length - 1), depth.narrow(axis, 1, length - 1)
        low_hit, high_hit = hit.narrow(axis, 0, length - 1), hit.narrow(axis, 1, length - 1)
        both = low_hit & high_hit
        step = torch.where(both, (high - low).abs(), 0.0)
        before, after = step.roll(1, axis), step.roll(-1, axis)
        before.narrow(axis, 0, 1).zero_()
        after.narrow(axis, length - 2, 1).zero_()
        footprint = pixel_footprint(camera, torch.where(both, torch.minimum(low, high), 1.0))
        slope = torch.minimum(torch.maximum(before, after), footprint * MAX_SLOPE)
        jump = step > 3.0 * footprint + 1.5 * slope
        jump |= low_hit != high_hit
        if object_id is not None:
            jump |= object_id.narrow(axis, 0, length - 1) != object_id.narrow(axis, 1, length - 1)
        edges.narrow(axis, 0, length - 1).logical_or_(jump)
        edges.narrow(axis, 1, length - 1).logical_or_(jump)
    return edges


def _uneven(camera: Camera, depth: Tensor, rounding: float) -> Tensor:
    """Pixels where the depth buffer bends by more than a footprint from one pixel to the next."""
    sheet = depth if camera.is_orthographic else 1.0 / depth
    bend = torch.zeros_like(depth)
    for axis in (0, 1):
        inner = depth.shape[axis] - 2
        if inner < 1:
            continue
        middle = sheet.narrow(axis, 1, inner)
        second = (sheet.narrow(axis, 0, inner) - 2.0 * middle + sheet.narrow(axis, 2, inner)).abs()
        bend.narrow(axis, 1, inner).copy_(torch.maximum(bend.narrow(axis, 1, inner), second))
    if not camera.is_orthographic:
        bend = bend * depth * depth
    # A comparison with NaN (inf - inf) is false: such pixels are empty and nothing looks there.
    return ~(bend <= pixel_footprint(camera, depth) + 4.0 * rounding * depth.abs())


def _only(object_id: Tensor, hit: Tensor) -> int | None:
    """The id of all pixels that are hit, if it is the same."""
    last = int(object_id.amax())
    return last if bool(((object_id == last) | ~hit).all()) else None


def _differs(values: Tensor) -> Tensor:
    """Pixels whose right or lower neighbour has another value."""
    out = torch.zeros_like(values, dtype=torch.bool)
    out[:, :-1] |= values[:, 1:] != values[:, :-1]
    out[:-1] |= values[1:] != values[:-1]
    return out


def soft_border(edges: Tensor, margin: int, feather: int) -> Tensor:
    """0 nearer than ``margin`` pixels to an edge pixel, rising to 1 over ``feather`` more. float32 (H, W)."""
    reach = margin + feather
    distance = torch.full(edges.shape, float(reach), device=edges.device)
    offsets = [
        (dx, dy, (dx * dx + dy * dy) ** 0.5)
        for dx in range(-reach, reach + 1)
        for dy in range(-reach, reach + 1)
        if dx * dx + dy * dy < reach * reach
    ]
    for at, apart in _around(edges, offsets):
        distance.view(-1).scatter_reduce_(0, at, torch.full_like(at, apart, dtype=torch.float32), "amin")
    return ((distance - margin + 1.0) / (feather + 1.0)).clamp_(0.0, 1.0)


def _grow(pixels: Tensor, reach: int) -> Tensor:
    """Pixels and all within a square of ``reach`` round them, bool (H, W)."""
    grown = pixels.clone()
    span = range(-reach, reach + 1)
    for at, _ in _around(pixels, [(dx, dy, 0.0) for dx in span for dy in span]):
        grown.view(-1)[at] = True
    return grown


def _around(pixels: Tensor, offsets: list[tuple[int, int, float]]) -> Iterator[tuple[Tensor, float]]:
    """Flat indices of the set pixels moved by each (dx, dy, value), kept inside the picture, with the value."""
    height, width = pixels.shape
    y, x = torch.nonzero(pixels).unbind(1)
    for dx, dy, value in offsets:
        yield (y + dy).clamp_(0, height - 1) * width + (x + dx).clamp_(0, width - 1), value
