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
from .spans import barycentric, fragments

__all__ = ["Visible", "render_view", "to_pixels", "to_view"]

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
    for part in fragments(pixels, (width, height)):
        at = torch.stack([part.x, part.y], 1).double() + 0.5
        depth = _depth_at(clipped, pixels, part.triangle, at, camera).float()
        rank = _sortable(depth) << 32 | part.triangle
        key.scatter_reduce_(0, part.y * width + part.x, rank, "amin")

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


def _depth_at(corners: Tensor, pixels: Tensor, triangle: Tensor, at: Tensor, camera: Camera) -> Tensor:
    """Planar depth of triangles at pixel positions: 1/z (perspective) or z (orthographic) is affine there."""
    origin, a, b = pixels[:, 0], pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    value = -corners[..., 2] if camera.is_orthographic else -1.0 / corners[..., 2]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = torch.where(area == 0.0, 0.0, 1.0 / area)
    da, db = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    plane = torch.stack(
        [
            (da * b[:, 1] - db * a[:, 1]) * inverse,
            (db * a[:, 0] - da * b[:, 0]) * inverse,
            value[:, 0],
            origin[:, 0],
            origin[:, 1],
        ],
        1,
    )[triangle]
    found = plane[:, 2] + plane[:, 0] * (at[:, 0] - plane[:, 3]) + plane[:, 1] * (at[:, 1] - plane[:, 4])
    # A sliver's plane can shoot past its corners; the surface can't.
    found = torch.minimum(torch.maximum(found, value.amin(1)[triangle]), value.amax(1)[triangle])
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
    weights = barycentric(flat, torch.arange(len(at), device=at.device), torch.gather(point, 1, keep))
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
