"""Which surface points a view sees, and where in its picture.

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

import numpy as np
import torch
from scumble_shared.camera import Camera
from torch import Tensor
from torch.nn.functional import grid_sample

from .surface import SurfacePoints, dot

__all__ = ["Lookup", "ViewGeometry", "depth_edges", "look", "pixel_footprint", "sample", "soft_border", "view_geometry"]

NEARER = (0.5, 0.5)
"""How much nearer than a point the buffer may be, in pixel footprints: for a surface that faces the camera, and more
per unit of slope. Anything beyond it hides the point."""

FARTHER = (1.0, 1.5)
"""The same for what is farther away. It hides nothing, and near a convex edge it still belongs to the surface."""

ENOUGH = 0.3
"""Bilinear weight that the pixels which show a point must have for it to count as seen."""

MAX_SLOPE = 10.0
"""Depth change per pixel footprint beyond which a surface counts as seen edge-on (84 degrees)."""

ROUNDING = {torch.float32: 1e-4, torch.float16: 6e-4}
"""Relative error of depth by number format: of the renderer's own for float32, of the format for float16."""


@dataclass(frozen=True, slots=True)
class ViewGeometry:
    """One view, prepared for look-ups. H x W is the buffers' size, the camera's.

    camera: whose picture may have another resolution, image_size (h, w). sheet: float32 (1, 2, H, W), inverse depth
    (orthographic: depth) and border factor. depth: float32 (H * W,), inf where nothing. careful: bool (H * W,), pixels
    whose neighbourhood isn't one smooth surface. object_id: int32 (H * W,) or None. facing: int8 (H * W,), +1 where
    the front-most textured triangle turns its outward side to the camera, -1 the other, 0 where there is none; or
    None. inner_side_shows: whether an inner side may be in view at all. rounding: relative error of the depth.
    distrusted: pixels of the picture next to a depth edge whose border factor is below 1.
    """

    camera: Camera
    image_size: tuple[int, int]
    sheet: Tensor
    depth: Tensor
    careful: Tensor
    object_id: Tensor | None
    facing: Tensor | None
    inner_side_shows: bool
    rounding: float
    distrusted: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The M of N points that a view sees.

    index: int64 (M,), which points.
    grid: float32 (M, 2), x and y in the picture, -1..1 from edge to edge, y down.
    cosine: float32 (M,), of the angle between shading normal and viewer.
    border: float32 (M,), 0 at depth edges, 1 away from them.
    footprint: float32 (M,), world size of a buffer pixel there.
    careful: int64 (K,), those of the M that have taps of their own.
    taps: int64 (K, 4), pixels of the picture. tap_weights: float32 (K, 4), summing to 1.
    """

    index: Tensor
    grid: Tensor
    cosine: Tensor
    border: Tensor
    footprint: Tensor
    careful: Tensor
    taps: Tensor
    tap_weights: Tensor

    def __len__(self) -> int:
        return len(self.index)


def pixel_footprint(camera: Camera, depth: Tensor) -> Tensor:
    """World size of a pixel at planar depths (any shape), the larger of width and height."""
    p = camera.projection_matrix
    unit = float(max(2.0 / (p[0, 0] * camera.width), 2.0 / (p[1, 1] * camera.height)))
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
    careful = _grow(careful & (depth < torch.inf), math.ceil(scale) + 1)
    finite = depth.clamp(max=1e30)
    sheet = finite if camera.is_orthographic else 1.0 / finite.clamp(min=1e-30)
    return ViewGeometry(
        camera=camera,
        image_size=image_size,
        sheet=torch.stack([sheet, border])[None],
        depth=depth.flatten(),
        careful=careful.flatten(),
        object_id=None if object_id is None else object_id.flatten(),
        facing=None if facing is None else facing.flatten(),
        inner_side_shows=facing is None or bool((facing < 0).any()),
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


def look(view: ViewGeometry, points: SurfacePoints, origin: Tensor, min_cosine: float = 0.05) -> Lookup:
    """Find what the view sees of the points. origin: float64 (3,), of the points' positions."""
    camera = view.camera
    matrix = torch.from_numpy(camera.view_matrix).to(origin.device)
    rotation, offset = matrix[:3, :3].float(), (matrix[:3, :3] @ origin + matrix[:3, 3]).float()[:, None]
    cosine, turned = _facing(points, rotation, offset, orthographic=camera.is_orthographic)
    # Which side of a mesh is seen is the face normal's to say.
    cosine = cosine.mul_(torch.sign(turned))
    index = _places((cosine > min_cosine) & (turned.abs() > 1e-3))
    position = rotation @ _picked(points.position, index) + offset
    grid = _to_grid(position, camera)
    usable = (grid[0].abs() <= 1.0) & (grid[1].abs() <= 1.0)
    if not camera.is_orthographic:
        usable &= position[2] < -camera.near
    if not bool(usable.all()):
        kept = _places(usable)
        index, position, grid = _picked(index, kept), _picked(position, kept), _picked(grid, kept)
    turned, cosine = _picked(turned, index), _picked(cosine, index)
    return _judge(view, _Candidates(index, position, rotation, turned, cosine, grid), points)


def _facing(points: SurfacePoints, rotation: Tensor, offset: Tensor, *, orthographic: bool) -> tuple[Tensor, Tensor]:
    """Cosines (N,) of the angles of shading normals and of faces to the viewer; below 0 seen from behind."""
    if orthographic:
        return rotation[2] @ points.normal, rotation[2] @ points.face_normal
    eye = -(rotation.T @ offset)[:, 0]
    closeness = (points.square - 2.0 * (eye @ points.position)).add_(eye @ eye).clamp_(min=1e-30).rsqrt_()
    cosine = (eye @ points.normal).sub_(points.plane).mul_(closeness)
    return cosine, (eye @ points.face_normal).sub_(points.face_plane).mul_(closeness)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Points inside the frame that face the viewer, in view space; vectors come first, as (2 or 3, N).

    index: which of all points. rotation: from world to view space.
    """

    index: Tensor
    position: Tensor
    rotation: Tensor
    turned: Tensor
    cosine: Tensor
    grid: Tensor


def _judge(view: ViewGeometry, near: _Candidates, points: SurfacePoints) -> Lookup:
    camera = view.camera
    depth = -near.position[2]
    footprint = pixel_footprint(camera, depth)
    slope = (1.0 - near.turned**2).clamp_(min=0.0).sqrt_().div_(near.turned.abs()).clamp_(max=MAX_SLOPE)
    rounding = depth.abs() * view.rounding
    nearer, farther = (torch.addcmul(rounding, footprint, slope * limit[1] + limit[0]) for limit in (NEARER, FARTHER))
    nearer.neg_()
    sheet, border = grid_sample(
        view.sheet, near.grid.T[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]
    away = sheet - depth if camera.is_orthographic else sheet.clamp(min=1e-30).reciprocal_().sub_(depth)
    pixel = _pixel_of(near.grid, camera.width, camera.height)
    shown = (away >= nearer) & (away <= farther) & _same_side(view, pixel, near.turned, points.object_id)

    careful = _places(_picked(view.careful, pixel))
    band = _picked(nearer, careful)[:, None], _picked(farther, careful)[:, None]
    taps, weights = _taps(view, near, points, careful, band)
    total = weights.sum(1)
    shown[careful] = total >= ENOUGH
    kept = _places(shown)
    own = _places(_picked(shown, careful))
    return Lookup(
        index=_picked(near.index, kept),
        grid=_picked(near.grid, kept).T,
        cosine=_picked(near.cosine, kept).clamp_(max=1.0),
        border=_picked(border, kept),
        footprint=_picked(footprint, kept),
        careful=torch.searchsorted(kept, _picked(careful, own)),
        taps=taps.index_select(0, own),
        tap_weights=weights.index_select(0, own) / _picked(total, own)[:, None],
    )


def _same_side(view: ViewGeometry, pixel: Tensor, turned: Tensor, object_id: int) -> Tensor:
    same = torch.ones_like(pixel, dtype=torch.bool)
    if view.object_id is not None:
        same &= _at(view.object_id, pixel) == object_id
    if view.facing is not None:
        same &= _at(view.facing, pixel) != -torch.sign(turned)
    return same


def _taps(
    view: ViewGeometry, near: _Candidates, points: SurfacePoints, which: Tensor, band: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The four picture pixels around each point and their bilinear weights, 0 where they show something else."""
    camera, (rows, columns) = view.camera, view.image_size
    position, grid = _picked(near.position, which), _picked(near.grid, which)
    face = near.rotation @ _picked(points.face_normal, _picked(near.index, which))
    x = ((grid[0] * 0.5 + 0.5) * columns - 0.5).clamp(0.0, columns - 1.0)
    y = ((grid[1] * 0.5 + 0.5) * rows - 0.5).clamp(0.0, rows - 1.0)
    left, top = x.floor(), y.floor()
    fx, fy = x - left, y - top
    column = torch.stack([left, left + 1.0, left, left + 1.0], 1).long().clamp_(max=columns - 1)
    row = torch.stack([top, top, top + 1.0, top + 1.0], 1).long().clamp_(max=rows - 1)
    weight = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)

    ratio_x, ratio_y = camera.width / columns, camera.height / rows
    buffer_x = ((column + 0.5) * ratio_x).long().clamp_(max=camera.width - 1)
    buffer_y = ((row + 0.5) * ratio_y).long().clamp_(max=camera.height - 1)
    pixel = buffer_y * camera.width + buffer_x
    depth = -position[2][:, None]
    reach = pixel_footprint(camera, depth) * MAX_SLOPE * max(1.0, ratio_x, ratio_y)
    expected = _plane_depth(face[..., None], dot(face, position)[:, None], buffer_x, buffer_y, camera)
    expected = torch.minimum(torch.maximum(expected, depth - reach), depth + reach)
    away = _at(view.depth, pixel) - expected
    same = (away >= band[0]) & (away <= band[1])
    same &= _same_side(view, pixel, _picked(near.turned, which)[:, None], points.object_id)
    return row * columns + column, torch.where(same, weight, 0.0)


def _places(mask: Tensor) -> Tensor:
    """Where a mask (N,) is true, int64, ascending. numpy's way takes a third of the time of torch's on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask)[:, 0]


def _at(values: Tensor, place: Tensor) -> Tensor:
    """``values[place]``, values (N,), place of any shape."""
    return values.index_select(0, place.flatten()).view(place.shape)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """``values[..., index]``, index (N,): this way it takes a third of the time on a CPU."""
    return values.index_select(-1, index)


def _to_grid(position: Tensor, camera: Camera) -> Tensor:
    """View-space points (3, N) -> picture positions (2, N), -1..1 from edge to edge, y down. Behind: out of frame."""
    p = torch.from_numpy(camera.projection_matrix[:2]).float().to(position.device)
    p[1] *= -1.0
    clip = p[:, :3] @ position + p[:, 3:]
    if camera.is_orthographic:
        return clip
    w = -position[2]
    return torch.where(w > 0.0, clip / w, torch.inf)


def _pixel_of(grid: Tensor, width: int, height: int) -> Tensor:
    x = ((grid[0] * 0.5 + 0.5) * width).int().clamp_(0, width - 1)
    y = ((grid[1] * 0.5 + 0.5) * height).int().clamp_(0, height - 1)
    return y.mul_(width).add_(x)


def _plane_depth(face: Tensor, plane: Tensor, x: Tensor, y: Tensor, camera: Camera) -> Tensor:
    """Depth at which rays through the centres of pixels x, y (K, 4) meet planes face (3, K, 1) . p = plane (K, 1)."""
    p = camera.projection_matrix
    u = ((x + 0.5) / camera.width * 2.0 - 1.0 - float(p[0, 3])) / float(p[0, 0])
    v = (1.0 - (y + 0.5) / camera.height * 2.0 - float(p[1, 3])) / float(p[1, 1])
    nx, ny, nz = face
    if camera.is_orthographic:
        towards, offset = -nz.expand_as(u), plane - nx * u - ny * v
    else:
        u, v = u + float(p[0, 2] / p[0, 0]), v + float(p[1, 2] / p[1, 1])
        towards, offset = nx * u + ny * v - nz, plane
    depth: Tensor = offset / torch.where(towards.abs() < 1e-9, 1e-9, towards)
    return depth


def sample(lookup: Lookup, image: Tensor) -> Tensor:
    """Colours (C, M) of the seen points. image: float32 (1, C, h, w), linear light, of the view's image_size."""
    colour = grid_sample(image, lookup.grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)[
        0, :, 0
    ]
    if len(lookup.careful):
        colour[:, lookup.careful] = (image.flatten(2)[0][:, lookup.taps] * lookup.tap_weights).sum(2)
    return colour
