"""A depth and triangle-id rasteriser: what a camera sees of meshes, when Blender isn't there to say.

Buffers follow :mod:`scumble_shared.camera`: top row first, pixel centres at +0.5, planar depth in scene units,
inf where nothing is hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

from .mesh import Mesh
from .spans import Runs, barycentric, runs

__all__ = ["Visible", "facing_viewer", "render_view", "to_pixels", "to_view"]

_FREE = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class Visible:
    """What a camera sees. H x W each.

    depth: float32, planar, inf where nothing. mesh, triangle: int64, the mesh's place in the list and its
    triangle, -1 where nothing. front: bool, the outward side of that triangle faces the camera.
    weights: float32 H x W x 3, perspective-correct barycentric position in the triangle.
    """

    depth: Tensor
    mesh: Tensor
    triangle: Tensor
    front: Tensor
    weights: Tensor

    def facing(self) -> Tensor:
        """int8: +1 where an outward side is seen, -1 an inward side, 0 nothing."""
        side: Tensor = torch.where(self.front, 1, -1).to(torch.int8)
        side[self.mesh < 0] = 0
        return side


def facing_viewer(mesh: Mesh, camera: Camera) -> Tensor:
    """bool (T,): triangles that turn their outward side to the camera."""
    a, b, c = to_view(mesh.vertices, camera)[mesh.triangles].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    towards = normal[:, 2] if camera.is_orthographic else -(normal * a).sum(1)
    front: Tensor = towards * mesh.outward > 0.0
    return front


def to_view(points: Tensor, camera: Camera) -> Tensor:
    """World points (..., 3) -> view space, float64."""
    matrix = torch.from_numpy(camera.view_matrix).to(points.device)
    return points.double() @ matrix[:3, :3].T + matrix[:3, 3]


def to_pixels(view_points: Tensor, camera: Camera) -> Tensor:
    """View-space points (..., 3) in front of the camera -> pixel positions (..., 2), same dtype."""
    p = camera.projection_matrix
    x, y, z = view_points.unbind(-1)
    w = torch.ones_like(z) if camera.is_orthographic else -z
    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
    v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
    return torch.stack([(u * 0.5 + 0.5) * camera.width, (0.5 - v * 0.5) * camera.height], -1)


def render_view(meshes: Sequence[Mesh], camera: Camera) -> Visible:
    """Nearest triangle at every pixel centre. The first mesh wins where depths are equal to 2e-7 of their value."""
    corners = torch.cat([to_view(mesh.vertices, camera)[mesh.triangles] for mesh in meshes])  # T x 3 x 3
    outward = torch.cat([torch.full((len(m.triangles),), m.outward, device=corners.device) for m in meshes])
    clipped, source = _clip_near(corners, camera)
    height, width = camera.height, camera.width
    key = torch.full((height * width,), _FREE, dtype=torch.int64, device=corners.device)
    pixels = to_pixels(clipped, camera)
    planes = _depth_planes(clipped, pixels, camera)
    for part, rank in runs(pixels, (width, height)).chunks():
        depth = _depth_along(planes, part, rank, camera)
        order = _sortable(depth.float()) << 32 | part.spread(part.triangle)
        key.scatter_reduce_(0, part.spread(part.row * width + part.start) + rank, order, "amin")

    hit = key != _FREE
    where = torch.nonzero(hit)[:, 0]
    winner = key[where] & 0xFFFFFFFF
    triangle = source[winner]
    at = torch.stack([where % width, where // width], 1).double() + 0.5
    depth = torch.full_like(key, torch.inf, dtype=torch.float32)
    depth[where] = _unsorted(key[where] >> 32)
    front, weights = _facing_and_weights(corners[triangle], outward[triangle], at, camera)
    sizes = torch.tensor([len(m.triangles) for m in meshes], device=key.device)
    owner = torch.repeat_interleave(torch.arange(len(sizes), device=key.device), sizes)
    first = torch.cumsum(sizes, 0) - sizes

    def spread(values: Tensor, empty: float) -> Tensor:
        out = torch.full((height * width, *values.shape[1:]), empty, dtype=values.dtype, device=key.device)
        out[where] = values
        return out.view(height, width, *values.shape[1:])

    return Visible(
        depth=depth.view(height, width),
        mesh=spread(owner[triangle], -1),
        triangle=spread(triangle - first[owner[triangle]], -1),
        front=spread(front, 0),
        weights=spread(weights, 0.0),
    )


def _sortable(values: Tensor) -> Tensor:
    """float32 -> int64 in the same order, negative values too."""
    bits = values.view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()


def _unsorted(keys: Tensor) -> Tensor:
    """Inverse of :func:`_sortable`."""
    bits = keys.int()
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(torch.float32)


def _clip_near(corners: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """View-space triangles (T, 3, 3) cut at the near plane: (T', 3, 3) and the triangle each piece is of."""
    near = -camera.near
    inside = corners[..., 2] <= near
    count = inside.sum(1)
    index = torch.arange(len(corners), device=corners.device)
    pieces, sources = [corners[count == 3]], [index[count == 3]]
    for kept in (1, 2):
        cut = index[count == kept]
        if len(cut) == 0:
            continue
        # Turn each triangle so that the odd corner out comes first.
        odd = (inside[cut] == (kept == 1)).int().argmax(1)
        order = (odd[:, None] + torch.arange(3, device=cut.device)) % 3
        a, b, c = torch.gather(corners[cut], 1, order[..., None].expand(-1, -1, 3)).unbind(1)
        ab = a + (b - a) * ((near - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
        ac = a + (c - a) * ((near - a[:, 2]) / (c[:, 2] - a[:, 2]))[:, None]
        if kept == 1:
            pieces.append(torch.stack([a, ab, ac], 1))
            sources.append(cut)
        else:
            pieces += [torch.stack([ab, b, c], 1), torch.stack([ab, c, ac], 1)]
            sources += [cut, cut]
    return torch.cat(pieces), torch.cat(sources)


def _depth_planes(corners: Tensor, pixels: Tensor, camera: Camera) -> Tensor:
    """1/z (perspective) or z (orthographic) is affine in pixels: per triangle its value at the origin, its slopes in x
    and y, its least and its greatest value. float64 (T, 5)."""
    origin, a, b = pixels[:, 0], pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    value = -corners[..., 2] if camera.is_orthographic else -1.0 / corners[..., 2]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = torch.where(area == 0.0, 0.0, 1.0 / area)
    da, db = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    x_slope = (da * b[:, 1] - db * a[:, 1]) * inverse
    y_slope = (db * a[:, 0] - da * b[:, 0]) * inverse
    start = value[:, 0] - x_slope * origin[:, 0] - y_slope * origin[:, 1]
    return torch.stack([start, x_slope, y_slope, value.amin(1), value.amax(1)], 1)


def _depth_along(planes: Tensor, part: Runs, rank: Tensor, camera: Camera) -> Tensor:
    """Planar depth at the pixel centres of some runs."""
    start, x_slope, y_slope, least, greatest = planes[part.triangle].unbind(1)
    first = start + x_slope * (part.start + 0.5) + y_slope * (part.row + 0.5)
    found = part.spread(first) + part.spread(x_slope) * rank
    # A sliver's plane can shoot past its corners; the surface can't.
    found = torch.minimum(torch.maximum(found, part.spread(least)), part.spread(greatest))
    return found if camera.is_orthographic else 1.0 / found


def _facing_and_weights(corners: Tensor, outward: Tensor, at: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Per hit: whether the outward side is seen, and barycentric weights by meeting the pixel's ray with the plane."""
    a, b, c = corners.unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    origin, direction = _rays(at, camera)
    towards = (normal * direction).sum(1)
    safe = torch.where(towards == 0.0, 1.0, towards)
    point = origin + direction * ((normal * (a - origin)).sum(1) / safe)[:, None]
    axis = normal.abs().argmax(1)
    keep = torch.tensor([[1, 2], [2, 0], [0, 1]], device=at.device)[axis]
    flat = torch.gather(corners, 2, keep[:, None].expand(-1, 3, -1))
    weights = barycentric(flat, torch.gather(point, 1, keep))
    return towards * outward < 0.0, weights


def _rays(at: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """View-space origin and direction (forward part 1) of the rays through pixel positions (N, 2), float64."""
    p = camera.projection_matrix
    x = (at[:, 0] / camera.width * 2.0 - 1.0 - p[0, 3]) / p[0, 0]
    y = (1.0 - at[:, 1] / camera.height * 2.0 - p[1, 3]) / p[1, 1]
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    if camera.is_orthographic:
        return torch.stack([x, y, zero], 1), torch.stack([zero, zero, -one], 1)
    return torch.stack([zero, zero, zero], 1), torch.stack([x + p[0, 2] / p[0, 0], y + p[1, 2] / p[1, 1], -one], 1)
