"""Texel -> surface: which triangle each texel of a mesh's UV map lies on, and where.

The one place where UV space meets rows: texel (row r, column c) of a texture of side S has its centre at
u = (c + 0.5) / S, v = 1 - (r + 0.5) / S.

UVs outside 0..1 repeat, as Blender's image textures do, unless a UDIM tile is asked for; then only what lies
in that tile is rasterised. Where triangles overlap, the lower ``priority`` wins, then the lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mesh import Mesh
from .spans import barycentric, fragments, segment_cells

__all__ = ["Texels", "rasterise", "udim_tiles", "uv_to_texel"]

MAX_TILES_PER_TRIANGLE = 16.0
"""A triangle stretched over more repeats of the texture than this has no meaningful texel density; it is skipped."""

_FREE = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class Texels:
    """The N texels of one square texture that lie on a mesh, in row-major order.

    size: side of the texture. index: int64 (N,), row * size + column, unique, ascending. triangle: int64 (N,).
    weights: float32 (N, 3), barycentric. border: bool (N,), texels that an island only touches without covering
    their centre; they carry the nearest point of the island's outline. overlapped: bool (N,), covered by more than
    one triangle. skipped: triangles left out for non-finite, zero-area or absurdly large UVs.
    """

    size: int
    index: Tensor
    triangle: Tensor
    weights: Tensor
    border: Tensor
    overlapped: Tensor
    skipped: int

    def __len__(self) -> int:
        return len(self.index)

    def part(self, begin: int, end: int) -> Texels:
        """Texels ``begin`` to ``end`` of the list, as views."""
        return Texels(
            self.size,
            self.index[begin:end],
            self.triangle[begin:end],
            self.weights[begin:end],
            self.border[begin:end],
            self.overlapped[begin:end],
            self.skipped,
        )

    def interpolate(self, corners: Tensor) -> Tensor:
        """Per-corner values (T, 3, C) -> per-texel values (N, C) of the same dtype."""
        picked = corners[self.triangle]
        weights = self.weights.to(picked.dtype)
        return picked[:, 0] * weights[:, :1] + picked[:, 1] * weights[:, 1:2] + picked[:, 2] * weights[:, 2:]


def uv_to_texel(uvs: Tensor, size: int) -> Tensor:
    """UVs (..., 2), v up -> continuous texel positions (..., 2), x right, y down, centres at +0.5."""
    return torch.stack([uvs[..., 0] * size, (1.0 - uvs[..., 1]) * size], -1)


def udim_tiles(mesh: Mesh) -> list[tuple[int, int]]:
    """(column, row) of the UDIM tiles that triangles lie in, judged by their centres; tile 1001 is (0, 0)."""
    centre = mesh.uvs.mean(1)
    tiles = torch.floor(centre[torch.isfinite(centre).all(1)]).long()
    return [(int(u), int(v)) for u, v in torch.unique(tiles, dim=0).tolist()]


def rasterise(mesh: Mesh, size: int, *, tile: tuple[int, int] | None = None, priority: Tensor | None = None) -> Texels:
    """Texels of a ``size`` x ``size`` texture on ``mesh``.

    tile: UDIM tile (column, row), None lets UVs repeat. priority: int64 (T,), lower wins where UVs overlap.
    """
    uvs, usable = _usable(mesh.uvs, tile)
    points = uv_to_texel(uvs, size)
    rank = torch.arange(len(points), device=points.device)
    key = rank if priority is None else rank + (priority << 32)
    winner, hits = _cover(points, usable, key, size, wrap=tile is None)
    border_at, border_triangle, border_weights = _outline(mesh, points, usable, winner, size, wrap=tile is None)

    inside = torch.nonzero(winner != _FREE)[:, 0]
    triangle = winner[inside] & 0xFFFFFFFF
    weights = _weights_at(points, triangle, inside, size)
    index = torch.cat([inside, border_at])
    order = torch.argsort(index)
    return Texels(
        size=size,
        index=index[order],
        triangle=torch.cat([triangle, border_triangle])[order],
        weights=torch.cat([weights, border_weights])[order],
        border=(torch.arange(len(index), device=index.device) >= len(inside))[order],
        overlapped=(hits[index] > 1)[order],
        skipped=int(len(points) - usable.sum()),
    )


def _usable(uvs: Tensor, tile: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """UVs moved so that the wanted tile, or each triangle's own, is 0..1; and which triangles can be drawn."""
    finite = torch.isfinite(uvs).flatten(1).all(1)
    uvs = torch.where(finite[:, None, None], uvs, 0.0)
    uvs = uvs - (torch.floor(uvs.mean(1, keepdim=True)) if tile is None else uvs.new_tensor(tile))
    extent = uvs.amax(1) - uvs.amin(1)
    a, b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return uvs, finite & (area != 0.0) & ((extent + 1.0).prod(1) <= MAX_TILES_PER_TRIANGLE)


def _flat(x: Tensor, y: Tensor, size: int, *, wrap: bool) -> Tensor:
    return (y % size) * size + x % size if wrap else y * size + x


def _cover(points: Tensor, usable: Tensor, key: Tensor, size: int, *, wrap: bool) -> tuple[Tensor, Tensor]:
    """Winning key per texel (_FREE where none), and how many triangles cover it."""
    winner = torch.full((size * size,), _FREE, dtype=torch.int64, device=points.device)
    hits = torch.zeros(size * size, dtype=torch.int32, device=points.device)
    drawn = torch.nonzero(usable)[:, 0]
    for part in fragments(points[drawn], None if wrap else (size, size)):
        at = _flat(part.x, part.y, size, wrap=wrap)
        winner.scatter_reduce_(0, at, key[drawn][part.triangle], "amin")
        hits.index_add_(0, at, torch.ones_like(at, dtype=torch.int32))
    return winner, hits


def _weights_at(points: Tensor, triangle: Tensor, index: Tensor, size: int) -> Tensor:
    """Barycentric weights of texel centres; a repeated triangle is met in the copy it covers best."""
    centre = torch.stack([index % size, index // size], 1).double() + 0.5
    middle = points.mean(1)[triangle]
    straddles = ((points.amin(1) < 0.0) | (points.amax(1) > size)).any(1)[triangle]
    if bool(straddles.any()):
        centre = torch.where(straddles[:, None], _nearest_copy(points, triangle, centre, middle, size), centre)
    return barycentric(points, triangle, centre)


def _nearest_copy(points: Tensor, triangle: Tensor, centre: Tensor, middle: Tensor, size: int) -> Tensor:
    """Texel centres moved by whole textures on to the copy that lies deepest inside its triangle."""
    corners = points[triangle]
    a, b, c = corners.unbind(1)
    area = _cross(b - a, c - a)
    best = centre
    depth = torch.full_like(area, -torch.inf)
    base = centre + torch.round((middle - centre) / size) * size
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            at = base + base.new_tensor([dx, dy]) * size
            inside = torch.stack([_cross(b - a, at - a), _cross(c - b, at - b), _cross(a - c, at - c)]) / area
            here = inside.amin(0)
            best = torch.where((here > depth)[:, None], at, best)
            depth = torch.maximum(depth, here)
    return best


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _outline(
    mesh: Mesh, points: Tensor, usable: Tensor, winner: Tensor, size: int, *, wrap: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Texels that islands touch but don't cover the centre of: (index, triangle, weights)."""
    triangle, corner = _border_edges(mesh, usable)
    begin, end = points[triangle, corner], points[triangle, (corner + 1) % 3]
    edge, x, y = segment_cells(begin, end)
    if not wrap:
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        edge, x, y = edge[inside], x[inside], y[inside]
    at = _flat(x, y, size, wrap=wrap)
    free = winner[at] == _FREE
    edge, at, centre = edge[free], at[free], torch.stack([x, y], 1)[free].double() + 0.5

    along = end[edge] - begin[edge]
    length = (along * along).sum(1).clamp(min=1e-30)
    t = (((centre - begin[edge]) * along).sum(1) / length).clamp(0.0, 1.0)
    distance = (begin[edge] + t[:, None] * along - centre).norm(dim=1)
    key = ((distance * 65536.0).long() << 32) + torch.arange(len(edge), device=edge.device)
    nearest = torch.full_like(winner, _FREE).scatter_reduce_(0, at, key, "amin")
    index = torch.nonzero(nearest != _FREE)[:, 0]
    chosen = nearest[index] & 0xFFFFFFFF

    t = t[chosen].float()
    corner = corner[edge[chosen]]
    weights = torch.zeros(len(index), 3, device=t.device)
    weights.scatter_(1, corner[:, None], (1.0 - t)[:, None])
    weights.scatter_(1, ((corner + 1) % 3)[:, None], t[:, None])
    return index, triangle[edge[chosen]], weights


def _border_edges(mesh: Mesh, usable: Tensor) -> tuple[Tensor, Tensor]:
    """(triangle, first corner) of the edges that only one drawn triangle has in UV space: the islands' outlines."""
    drawn = torch.nonzero(usable)[:, 0]
    uvs = mesh.uvs[drawn].float()
    bits = uvs.contiguous().view(torch.int32).long()
    place = (bits[..., 0] << 32) ^ (bits[..., 1] & 0xFFFFFFFF)
    _, place = torch.unique(place, return_inverse=True)
    _, corner_id = torch.unique(place * len(mesh.vertices) + mesh.triangles[drawn], return_inverse=True)
    following = corner_id.roll(-1, 1)
    low, high = torch.minimum(corner_id, following), torch.maximum(corner_id, following)
    _, inverse, counts = torch.unique(low * corner_id.numel() + high, return_inverse=True, return_counts=True)
    lonely = torch.nonzero(counts[inverse] == 1)
    return drawn[lonely[:, 0]], lonely[:, 1]
