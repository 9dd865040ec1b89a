"""Triangles in a plane -> the pixels whose centres they cover, as flat lists, with no loop over triangles.

Each triangle is cut into rows and each row into one run of pixels, so that no candidate is tested in vain.
Edges are evaluated from their lower end in float64: two triangles sharing an edge find the same crossing and
a pixel centre on it belongs to exactly one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Fragments", "barycentric", "expand", "fragments", "segment_cells"]

CHUNK_PIXELS = 4_000_000
"""Pixels expanded at a time; bounds memory to about 100 MB."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """N (triangle, pixel) pairs. triangle, x, y: int64 (N,); the pixel's centre is (x + 0.5, y + 0.5)."""

    triangle: Tensor
    x: Tensor
    y: Tensor


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """``counts`` (N,) int64 -> (owner, rank): each i repeated counts[i] times, and 0..counts[i]-1 beside it."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = torch.cumsum(counts, 0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - first[owner]


def fragments(points: Tensor, window: tuple[int, int] | None = None) -> Iterator[Fragments]:
    """Pixels covered by triangles.

    points: float64 (T, 3, 2), pixel space (x right, y down or up: it doesn't matter here). Either winding;
    zero-area triangles cover nothing. window: (width, height) to clip to, None leaves pixels unbounded.
    Yields chunks in triangle order.
    """
    row, triangle, start, count = _runs(points, window)
    if len(count) == 0:
        return
    total = torch.cumsum(count, 0)
    cuts = torch.arange(CHUNK_PIXELS, int(total[-1]) + CHUNK_PIXELS, CHUNK_PIXELS, device=total.device)
    ends = torch.searchsorted(total, cuts).clamp_(max=len(total) - 1).tolist()
    begin = 0
    for last in ends:
        part = slice(begin, last + 1)
        begin = last + 1
        owner, rank = expand(count[part])
        if len(owner):
            yield Fragments(triangle[part][owner], start[part][owner] + rank, row[part][owner])


def _runs(points: Tensor, window: tuple[int, int] | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, triangle, first column and length of each non-empty run, in triangle order."""
    x, y = points.unbind(-1)  # T x 3
    first = torch.ceil(y.amin(1) - 0.5).long()
    last = torch.ceil(y.amax(1) - 0.5).long()
    if window is not None:
        first, last = first.clamp(min=0), last.clamp(max=window[1])
    triangle, rank = expand((last - first).clamp_(min=0))
    row = first[triangle] + rank
    centre = row + 0.5

    nx, ny = x.roll(-1, 1), y.roll(-1, 1)
    upward = y <= ny
    low_x, low_y = torch.where(upward, x, nx), torch.where(upward, y, ny)
    high_x, high_y = torch.where(upward, nx, x), torch.where(upward, ny, y)
    slope = (high_x - low_x) / torch.where(high_y > low_y, high_y - low_y, 1.0)

    left = torch.full_like(centre, torch.inf)
    right = torch.full_like(centre, -torch.inf)
    for edge in range(3):
        bottom = low_y[:, edge][triangle]
        crossing = low_x[:, edge][triangle] + (centre - bottom) * slope[:, edge][triangle]
        active = (bottom <= centre) & (centre < high_y[:, edge][triangle])
        left = torch.where(active, torch.minimum(left, crossing), left)
        right = torch.where(active, torch.maximum(right, crossing), right)

    crossed = right > left
    start = torch.ceil(torch.where(crossed, left, 0.0) - 0.5).long()
    stop = torch.ceil(torch.where(crossed, right, 0.0) - 0.5).long()
    if window is not None:
        start, stop = start.clamp(min=0), stop.clamp(max=window[0])
    count = (stop - start).clamp_(min=0)
    used = count > 0
    return row[used], triangle[used], start[used], count[used]


def barycentric(points: Tensor, triangle: Tensor, at: Tensor) -> Tensor:
    """Weights of the three corners, float32 (N, 3), summing to 1.

    points: float64 (T, 3, 2). triangle: int64 (N,). at: float64 (N, 2) positions in the same plane. Positions
    a rounding error outside are clamped on to the triangle.
    """
    origin = points[:, 0]
    a, b = points[:, 1] - origin, points[:, 2] - origin
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = torch.where(area == 0.0, 0.0, 1.0 / area)
    rows = torch.stack([b[:, 1], -b[:, 0], -a[:, 1], a[:, 0]], 1) * inverse[:, None]  # T x 4
    offset = at - origin[triangle]
    rows = rows[triangle]
    second = (rows[:, 0] * offset[:, 0] + rows[:, 1] * offset[:, 1]).clamp_(0.0, 1.0)
    third = (rows[:, 2] * offset[:, 0] + rows[:, 3] * offset[:, 1]).clamp_(0.0, 1.0)
    first = (1.0 - second - third).clamp_(min=0.0)
    weights = torch.stack([first, second, third], 1)
    return (weights / weights.sum(1, keepdim=True)).float()


def segment_cells(begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every pixel square that segments pass through: (segment, x, y), int64 (N,) each.

    begin, end: float64 (E, 2). A segment along a pixel border is given the squares on one side of it.
    """
    upward = (begin[:, 1] <= end[:, 1])[:, None]
    low, high = torch.where(upward, begin, end), torch.where(upward, end, begin)
    first, last = torch.floor(low[:, 1]).long(), torch.floor(high[:, 1]).long()
    segment, rank = expand(last - first + 1)
    row = first[segment] + rank
    low, high = low[segment], high[segment]
    rise = high[:, 1] - low[:, 1]
    slope = torch.where(rise > 0.0, (high[:, 0] - low[:, 0]) / rise, 0.0)
    enter = low[:, 0] + (torch.maximum(row.double(), low[:, 1]) - low[:, 1]) * slope
    leave = low[:, 0] + (torch.minimum(row + 1.0, high[:, 1]) - low[:, 1]) * slope
    leave = torch.where(rise > 0.0, leave, high[:, 0])
    start = torch.floor(torch.minimum(enter, leave)).long()
    stop = torch.floor(torch.maximum(enter, leave)).long()
    run, column = expand(stop - start + 1)
    return segment[run], start[run] + column, row[run]
