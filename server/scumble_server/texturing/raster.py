"""Texel -> surface: which triangle each texel of a mesh's UV map lies on, and where.

The one place where UV space meets rows: texel (row r, column c) of a texture of side S has its centre at
u = (c + 0.5) / S, v = 1 - (r + 0.5) / S.

UVs outside 0..1 repeat, as Blender's image textures do, unless the mesh is on a UDIM tile; then only what lies
in that tile is rasterised. Where triangles overlap, the lower ``priority`` wins, then the lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mesh import Mesh, tile_corner
from .spans import affine_weights, runs, segment_cells

__all__ = ["TexelMap", "Texels", "evaluate", "rasterise", "uv_to_texel"]

MAX_TILES_PER_TRIANGLE = 16.0
"""A triangle stretched over more repeats of the texture than this has no meaningful texel density; it is skipped."""

_FREE = torch.iinfo(torch.int32).max
_LATER = 1 << 30  # added to the index of triangles of low priority
_FREE_EDGE = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class Texels:
    """N texels that lie on a mesh, in row-major order.

    index: int64 (N,), row * size + column, ascending. triangle: int64 (N,). offset: float32 (2, N), the point of the
    triangle that stands for the texel, in texels right and down of the triangle's anchor.
    """

    index: Tensor
    triangle: Tensor
    offset: Tensor

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class TexelMap:
    """A rasterised UV map; texels are worked out for the part of it that is asked for.

    size: side S of the texture. triangle: int32 (S * S,), -1 where no island is. border: int64 (B,), ascending:
    texels that an island touches without covering their centre; border_points: float64 (B, 2), the nearest point of
    the island's outline. overlapped: int64 (O,), texels covered by more than one triangle. skipped: triangles left
    out for non-finite, zero-area or absurdly large UVs. points: float64 (T, 3, 2), the triangles in texel space.
    drawn: bool (T,), those that weren't skipped. anchor, weights: see :func:`.spans.affine_weights`. straddling: bool
    (T,), over an edge of the texture, or None if no triangle is. repeats: whether the texture goes on beyond its edges;
    on a UDIM tile it doesn't.
    """

    size: int
    triangle: Tensor
    border: Tensor
    border_points: Tensor
    overlapped: Tensor
    skipped: int
    points: Tensor
    drawn: Tensor
    anchor: Tensor
    weights: Tensor
    straddling: Tensor | None
    repeats: bool

    @property
    def covered(self) -> Tensor:
        """bool (S, S)."""
        return (self.triangle >= 0).view(self.size, self.size)

    def part(self, begin: int, end: int) -> Texels:
        """Texels on the mesh among flat indices ``begin`` to ``end`` of the texture."""
        return self.at(torch.nonzero(self.triangle[begin:end] >= 0).view(-1) + begin)

    def at(self, index: Tensor) -> Texels:
        """The given texels, all on the mesh; int64 (N,), ascending."""
        index = index.contiguous()
        triangle = self.triangle[index].long()
        row = torch.div(index, self.size, rounding_mode="floor")
        anchor = self.anchor[triangle]
        offset = torch.stack([(index - row * self.size) - anchor[:, 0], row - anchor[:, 1]]) + 0.5
        if self.straddling is not None:
            which = torch.nonzero(self.straddling[triangle])[:, 0]
            corners, start = self.points[triangle[which]], anchor[which].double()
            copy = _nearest_copy(corners, offset[:, which].T.double() + start, self.size)
            offset[:, which] = (copy - start).T.float()
        if len(index) and len(self.border):
            low, high = torch.searchsorted(self.border, index[[0, -1]].contiguous() + index.new_tensor([0, 1])).tolist()
            place = torch.searchsorted(index, self.border[low:high]).clamp_(max=len(index) - 1)
            found = torch.nonzero(index[place] == self.border[low:high])[:, 0]
            place = place[found]
            offset[:, place] = (self.border_points[low:high][found] - anchor[place]).T.float()
        return Texels(index, triangle, offset)

    def all(self) -> Texels:
        return self.part(0, self.size * self.size)

    def affine(self, corners: Tensor) -> Tensor:
        """Per-corner values (T, 3, C) as functions of a texel's offset, float32 (3 C, T), for :func:`evaluate`."""
        found = torch.einsum("tik,tkc->tic", self.weights, corners.double()).float()
        return found.flatten(1).T.contiguous()


def evaluate(affine: Tensor, texels: Texels) -> Tensor:
    """Values (C, N) at texels, from :meth:`TexelMap.affine`."""
    channels = len(affine) // 3
    values, across, down = affine.index_select(1, texels.triangle).split(channels)  # type: ignore[no-untyped-call]
    evaluated: Tensor = values.addcmul_(across, texels.offset[0]).addcmul_(down, texels.offset[1])
    return evaluated


def uv_to_texel(uvs: Tensor, size: int) -> Tensor:
    """UVs (..., 2), v up -> continuous texel positions (..., 2), x right, y down, centres at +0.5."""
    return torch.stack([uvs[..., 0] * size, (1.0 - uvs[..., 1]) * size], -1)


def rasterise(mesh: Mesh, size: int, *, later: Tensor | None = None) -> TexelMap:
    """Texels of a ``size`` x ``size`` texture on ``mesh``.

    later: bool (T,), triangles that win a texel only where no other covers it.
    """
    uvs, usable = _usable(mesh.uvs, None if mesh.tile is None else tile_corner(mesh.tile))
    points = uv_to_texel(uvs, size)
    key = torch.arange(len(points), device=points.device, dtype=torch.int32)
    if later is not None:
        key = key + later.int() * _LATER
    wrap = mesh.tile is None
    winner, overlapped = _cover(points, usable, key, size, wrap=wrap)
    border, border_triangle, border_points = _outline(mesh, points, usable, winner, size, wrap=wrap)
    triangle = torch.where(winner == _FREE, -1, winner & (_LATER - 1))
    triangle[border] = border_triangle.int()
    anchor, weights = affine_weights(points)
    straddling = usable & ((points.amin(1) < 0.0) | (points.amax(1) > size)).any(1) if wrap else None
    return TexelMap(
        size=size,
        triangle=triangle,
        border=border,
        border_points=border_points,
        overlapped=overlapped,
        skipped=int(len(points) - usable.sum()),
        points=points,
        drawn=usable,
        anchor=anchor,
        weights=weights,
        straddling=straddling if straddling is not None and bool(straddling.any()) else None,
        repeats=wrap,
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


def _cover(points: Tensor, usable: Tensor, key: Tensor, size: int, *, wrap: bool) -> tuple[Tensor, Tensor]:
    """Winning key per texel, int32 (S * S,), _FREE where none; and the texels that several triangles cover."""
    winner = torch.full((size * size,), _FREE, dtype=torch.int32, device=points.device)
    drawn = torch.nonzero(usable)[:, 0]
    found = runs(points[drawn], None if wrap else (size, size))
    keys = key[drawn[found.triangle]]
    leaves = (found.start < 0) | (found.start + found.count > size) | (found.row < 0) | (found.row >= size)
    wrap = bool(leaves.any())
    begin = 0
    for part, rank in found.chunks():
        if wrap:
            at = part.spread(part.row % size) * size + (part.spread(part.start) + rank) % size
        else:
            at = part.spread(part.row * size + part.start) + rank
        winner.scatter_reduce_(0, at, part.spread(keys[begin : begin + len(part)]), "amin")
        begin += len(part)
    return winner, _overlapped(found.pixels, winner, points, drawn, size, wrap=wrap)


def _overlapped(pixels: int, winner: Tensor, points: Tensor, drawn: Tensor, size: int, *, wrap: bool) -> Tensor:
    """Texels met more than once; nothing needs counting when there are as many hits as texels."""
    if pixels == int((winner != _FREE).sum()):
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    hits = torch.zeros(size * size, dtype=torch.int32, device=points.device)
    found = runs(points[drawn], None if wrap else (size, size))
    for part, rank in found.chunks():
        at = part.spread(part.row % size) * size + (part.spread(part.start) + rank) % size
        hits.index_add_(0, at, torch.ones_like(at, dtype=torch.int32))
    return torch.nonzero(hits > 1)[:, 0]


def _nearest_copy(corners: Tensor, centre: Tensor, size: int) -> Tensor:
    """Texel centres (N, 2) moved by whole textures on to the copy that lies deepest inside triangles (N, 3, 2)."""
    a, b, c = corners.unbind(1)
    area = _cross(b - a, c - a)
    base = centre + torch.round((corners.mean(1) - centre) / size) * size
    best = base
    depth = torch.full_like(area, -torch.inf)
    for dx in range(-2, 3):
        for dy in range(-2, 3):
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
    """Texels that islands touch but don't cover the centre of: (index, triangle, nearest point of the outline)."""
    triangle, corner = _border_edges(mesh, usable)
    begin, end = points[triangle, corner], points[triangle, (corner + 1) % 3]
    edge, x, y = segment_cells(begin, end)
    if not wrap:
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        edge, x, y = edge[inside], x[inside], y[inside]
    at = (y % size) * size + x % size
    free = winner[at] == _FREE
    edge, at, centre = edge[free], at[free], torch.stack([x, y], 1)[free].double() + 0.5

    along = end[edge] - begin[edge]
    length = (along * along).sum(1).clamp(min=1e-30)
    t = (((centre - begin[edge]) * along).sum(1) / length).clamp(0.0, 1.0)
    distance = (begin[edge] + t[:, None] * along - centre).norm(dim=1)
    key = ((distance * 65536.0).long() << 32) + torch.arange(len(edge), device=edge.device)
    index, group = torch.unique(at, return_inverse=True)
    nearest = torch.full_like(index, _FREE_EDGE).scatter_reduce_(0, group, key, "amin")
    chosen = nearest & 0xFFFFFFFF

    edge, t = edge[chosen], t[chosen]
    return index, triangle[edge], begin[edge] + t[:, None] * along[chosen]


def _border_edges(mesh: Mesh, usable: Tensor) -> tuple[Tensor, Tensor]:
    """(triangle, first corner) of the edges that only one drawn triangle has in UV space: the islands' outlines.

    An edge is known by a 64-bit hash of its two corners' vertices and UVs.
    """
    drawn = torch.nonzero(usable)[:, 0]
    bits = (mesh.uvs[drawn] + 0.0).view(torch.int64)
    corner = _mix(_mix(_mix(bits[..., 0]) + bits[..., 1]) + mesh.triangles[drawn])
    edge = _mix(corner) + _mix(corner.roll(-1, 1))
    ordered, place = torch.sort(edge.flatten())
    same = ordered[1:] == ordered[:-1]
    single = torch.ones_like(ordered, dtype=torch.bool)
    single[1:] &= ~same
    single[:-1] &= ~same
    lonely = torch.sort(place[single]).values
    return drawn[torch.div(lonely, 3, rounding_mode="floor")], lonely % 3


def _mix(value: Tensor) -> Tensor:
    """SplitMix64's finaliser: int64 -> int64, every bit depending on every bit."""
    value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return value ^ ((value >> 31) & 0x1FFFFFFFF)
