"""Which parts of a surface a camera sees, in numpy alone: for the preview of views, before anything is generated.

The server judges again, more finely, when it fuses. Nothing in here knows Blender, so it runs on any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera

__all__ = ["Depths", "cosines_seen", "nearest", "small"]

SIDE = 256
"""Pixels along the longer side of the pictures that sight is judged in."""

ROWS_AT_ONCE, FRAGMENTS_AT_ONCE = 1 << 20, 1 << 22
"""So that no mesh, however many layers deep, takes more than a few hundred MB."""

NOTHING = np.uint64(np.iinfo(np.uint64).max)

Floats = NDArray[np.float64]


def never() -> None:
    """For work that nobody stops."""


@dataclass(frozen=True, slots=True, eq=False)
class Depths:
    """What is nearest in each pixel of a camera's picture.

    depth: float32 H x W, planar, inf where nothing is. front: bool H x W, the outward side of it is seen.
    """

    camera: Camera
    depth: NDArray[np.float32]
    front: NDArray[np.bool_]


def small(camera: Camera) -> Camera:
    """The same view at the resolution sight is judged in."""
    shrink = min(1.0, SIDE / max(camera.width, camera.height))
    return replace(camera, width=max(1, round(camera.width * shrink)), height=max(1, round(camera.height * shrink)))


def nearest(
    camera: Camera,
    vertices: Floats,
    triangles: NDArray[np.int32],
    outward: NDArray[np.float64],
    check: Callable[[], None] = never,
) -> Depths:
    """A depth buffer of triangles (T, 3) over world-space vertices (V, 3).

    outward: (T,), +1 where (b - a) x (c - a) points outward, -1 after a mirroring transform. check: called now and
    then; may raise to end the work.
    """
    buffer = np.full(camera.width * camera.height, NOTHING)
    pixels, depth, turned = _in_picture(camera, vertices, triangles, outward)
    if len(pixels):
        u, v = pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
        front = (u[:, 1] * v[:, 0] - u[:, 0] * v[:, 1]) * turned > 0.0  # rows run down
        value = depth if camera.is_orthographic else 1.0 / depth
        for place, near, triangle in _fragments(camera, pixels, value, check):
            planar = (near if camera.is_orthographic else 1.0 / near).astype(np.float32)
            # Positive floats sort as their bits do; the side rides along in the lowest.
            keys = planar.view(np.uint32).astype(np.uint64) << np.uint64(1) | front[triangle].astype(np.uint64)
            np.minimum.at(buffer, place, keys)
    shape = (camera.height, camera.width)
    hit = buffer != NOTHING
    bits = np.where(hit, buffer >> np.uint64(1), 0).astype(np.uint32)
    depth = np.where(hit, bits.view(np.float32), np.float32(np.inf)).astype(np.float32)
    return Depths(camera, depth.reshape(shape), ((buffer & np.uint64(1)) == 1).reshape(shape) & hit.reshape(shape))


def cosines_seen(seen: Depths, points: Floats, normals: Floats) -> NDArray[np.float32]:
    """Cosine of the angle between a point's surface and the viewer, (N,); 0 where it is hidden or out of the picture.

    points: (N, 3), world space. normals: (N, 3), unit, outward; a surface counts from whichever side is seen.
    """
    camera = seen.camera
    rotation = camera.view_matrix[:3, :3]
    position = points @ rotation.T + camera.view_matrix[:3, 3]
    normal = normals @ rotation.T
    pixels, depth = camera.project(points)
    cosine = normal[:, 2] if camera.is_orthographic else -(normal * position).sum(1) / _length(position)
    size = np.array([camera.width, camera.height])
    # Where no inner side shows at all, what turns away isn't seen, whatever lies beside a silhouette.
    facing = np.abs(cosine) if (np.isfinite(seen.depth) & ~seen.front).any() else cosine
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0.0) & (pixels < size)).all(1) & (depth > max(camera.near, 0.0)) & (facing > 1e-3)
    found = np.zeros(len(points), np.float32)
    which = np.flatnonzero(inside)
    column, row = pixels[which].astype(np.intp).T
    there = seen.depth[row, column]
    expected = _plane_depth(camera, column + 0.5, row + 0.5, position[which], normal[which])
    expected = np.where(expected > 0.0, expected, depth[which])
    facing = facing[which]
    slope = np.minimum(np.sqrt(np.maximum(1.0 - facing**2, 0.0)) / facing, 10.0)
    tolerance = _footprint(camera, depth[which]) * (0.5 + 0.5 * slope)
    # A wall as thin as paper, or an edge: what is nearest there, and no farther, is another side.
    other = (there <= np.maximum(expected, depth[which]) + tolerance) & (
        seen.front[row, column] != (cosine[which] > 0.0)
    )
    visible = (there >= expected - tolerance) & ~other
    found[which[visible]] = facing[visible]
    return found


def _in_picture(
    camera: Camera, vertices: Floats, triangles: NDArray[np.int32], outward: NDArray[np.float64]
) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Pixels (K, 3, 2), depths (K, 3) and ``outward`` (K,) of what lies beyond the near plane, cut there."""
    view = vertices @ camera.view_matrix[:3, :3].T + camera.view_matrix[:3, 3]
    near = max(camera.near, 1e-6)
    beyond = -view[:, 2] >= near
    if beyond.all():
        return (*(part[triangles] for part in _projected(camera, view)), outward)
    count = sum(beyond[triangles[:, corner]].astype(np.int8) for corner in range(3))
    whole, crossing = np.flatnonzero(count == 3), np.flatnonzero((count > 0) & (count < 3))
    pieces, parents = _clipped(view[triangles[crossing]], near)
    pixels, depth = _projected(camera, np.concatenate([view[triangles[whole]], pieces]))
    return pixels, depth, np.concatenate([outward[whole], outward[crossing][parents]])


def _clipped(corners: Floats, near: float) -> tuple[Floats, NDArray[np.intp]]:
    """Triangles that cross the near plane, cut to what lies beyond it: one or two each, and whose they are."""
    beyond = -corners[:, :, 2] >= near
    alone = np.where(beyond.sum(1) == 1, beyond.argmax(1), (~beyond).argmax(1))  # the corner that is by itself
    order = (alone[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(corners, order[:, :, None], 1).transpose(1, 0, 2)
    ab, ac = _crossing(a, b, near), _crossing(a, c, near)
    one = np.take_along_axis(beyond, alone[:, None], 1)[:, 0]
    tips = np.stack([a, ab, ac], 1)[one]
    first, second = np.stack([ab, b, c], 1)[~one], np.stack([ab, c, ac], 1)[~one]
    mine, theirs = np.flatnonzero(one), np.flatnonzero(~one)
    return np.concatenate([tips, first, second]), np.concatenate([mine, theirs, theirs])


def _crossing(start: Floats, end: Floats, near: float) -> Floats:
    share = (-near - start[:, 2]) / (end[:, 2] - start[:, 2])
    point = start + (end - start) * share[:, None]
    point[:, 2] = -near
    return point


def _projected(camera: Camera, points: Floats) -> tuple[Floats, Floats]:
    """View-space points (..., 3) -> pixels (..., 2) and depths (...)."""
    p = camera.projection_matrix
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    w = np.ones_like(z) if camera.is_orthographic else -z
    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
    v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
    return np.stack([(u * 0.5 + 0.5) * camera.width, (0.5 - v * 0.5) * camera.height], -1), -z


def _fragments(
    camera: Camera, pixels: Floats, value: Floats, check: Callable[[], None]
) -> Iterator[tuple[NDArray[np.intp], Floats, NDArray[np.intp]]]:
    """Flat pixel, interpolated value and triangle of every pixel centre that a triangle covers.

    value: (K, 3), affine over the picture.
    """
    a, b, c = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)  # ten times as fast as min(1)
    first = np.maximum(np.ceil(low - 0.5), 0.0)
    last = np.minimum(np.floor(high - 0.5), (camera.width - 1, camera.height - 1))
    which = np.flatnonzero((first[:, 0] <= last[:, 0]) & (first[:, 1] <= last[:, 1]))
    rows = (last[which, 1] - first[which, 1] + 1).astype(np.intp)
    for part in _parts(rows, ROWS_AT_ONCE):
        check()
        triangle, step = _expanded(rows[part])
        triangle = which[part][triangle]
        row = first[triangle, 1] + step
        left, right = _run(pixels[triangle], row + 0.5)
        start = np.maximum(np.ceil(left - 0.5), 0.0).astype(np.intp)
        length = np.minimum(np.floor(right - 0.5), camera.width - 1).astype(np.intp) - start + 1
        some = np.flatnonzero(length > 0)
        for bit in _parts(length[some], FRAGMENTS_AT_ONCE):
            check()
            run, along = _expanded(length[some][bit])
            run = some[bit][run]
            column, line, owner = start[run] + along, row[run], triangle[run]
            near = _interpolated(pixels, value, owner, column + 0.5, line + 0.5)
            usable = near > 0.0  # a sliver's slope can throw it behind the eye
            place = line.astype(np.intp) * camera.width + column
            yield place[usable], near[usable], owner[usable]


def _parts(counts: NDArray[np.intp], most: int) -> Iterator[slice]:
    """Consecutive slices whose counts sum to about ``most``."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = int(total[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(total, done + most, side="right")))
        yield slice(start, end)
        start = end


def _expanded(counts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(2, 3) -> owners 0 0 1 1 1 and their places 0 1 0 1 2."""
    owner = np.repeat(np.arange(len(counts)), counts)
    begin = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - begin[owner]


def _run(corners: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where a scan line enters and leaves each triangle; corners: (R, 3, 2)."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for here, after in ((0, 1), (1, 2), (2, 0)):
        (x0, y0), (x1, y1) = corners[:, here].T, corners[:, after].T
        rise = y1 - y0
        crosses = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1)) & (rise != 0.0)
        x = x0 + (y - y0) * (x1 - x0) / np.where(rise == 0.0, 1.0, rise)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    missed = left > right
    return np.where(missed, 1.0, left), np.where(missed, 0.0, right)


def _interpolated(pixels: Floats, value: Floats, owner: NDArray[np.intp], x: Floats, y: Floats) -> Floats:
    a, b, c = pixels[owner].transpose(1, 0, 2)
    (ux, uy), (vx, vy), (px, py) = (b - a).T, (c - a).T, np.stack([x, y]) - a.T
    area = ux * vy - uy * vx
    scale = 1.0 / np.where(area == 0.0, math.inf, area)
    second, third = (px * vy - py * vx) * scale, (ux * py - uy * px) * scale
    va, vb, vc = value[owner].T
    return va + (vb - va) * np.clip(second, 0.0, 1.0) + (vc - va) * np.clip(third, 0.0, 1.0)


def _plane_depth(camera: Camera, x: Floats, y: Floats, position: Floats, normal: Floats) -> Floats:
    """Depth at pixel positions of the planes through view-space points; not above 0 where a plane isn't met."""
    p = camera.projection_matrix
    across, up = (x / camera.width * 2.0 - 1.0), (1.0 - y / camera.height * 2.0)
    against = (normal * position).sum(1)
    if camera.is_orthographic:
        fixed = normal[:, 0] * (across - p[0, 3]) / p[0, 0] + normal[:, 1] * (up - p[1, 3]) / p[1, 1]
        return (fixed - against) / np.where(np.abs(normal[:, 2]) < 1e-9, np.inf, normal[:, 2])
    ray = normal[:, 0] * (across + p[0, 2]) / p[0, 0] + normal[:, 1] * (up + p[1, 2]) / p[1, 1] - normal[:, 2]
    return against / np.where(np.abs(ray) < 1e-9, np.inf, ray)


def _footprint(camera: Camera, depth: Floats) -> Floats:
    """World size of a pixel at a depth."""
    p = camera.projection_matrix
    unit = float(max(2.0 / (p[0, 0] * camera.width), 2.0 / (p[1, 1] * camera.height)))
    return np.full_like(depth, unit) if camera.is_orthographic else depth * unit


def _length(vectors: Floats) -> Floats:
    return np.maximum(np.sqrt((vectors**2).sum(1)), 1e-300)
