"""Triangles in a plane -> the pixels whose centres they cover, with no loop over triangles.

Each triangle is cut into rows and each row into one run of pixels, so that no candidate is tested in vain.
Edges are evaluated from their lower end in float64: two triangles sharing an edge find the same crossing and
a pixel centre on it belongs to exactly one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Runs", "affine_weights", "barycentric", "expand", "runs", "segment_cells"]

CHUNK_PIXELS = 1 << 19
"""Pixels expanded at a time: large enough to be worth a call, small enough for the allocator to reuse memory."""


@dataclass(frozen=True, slots=True)
class Runs:
    """R horizontal runs of covered pixels, in triangle order. int64 (R,) each; count > 0.

    Pixels start..start + count - 1 of ``row``; their centres are at (start + 0.5, row + 0.5) and so on.
    """

    triangle: Tensor
    row: Tensor
    start: Tensor
    count: Tensor

    def __len__(self) -> int:
        return len(self.count)

    @property
    def pixels(self) -> int:
        return int(self.count.sum())

    def chunks(self) -> Iterator[tuple[Runs, Tensor]]:
        """Runs a few at a time, and the place of each of their pixels in its run."""
        if len(self) == 0:
            return
        total = torch.cumsum(self.count, 0)
        cuts = torch.arange(CHUNK_PIXELS, int(total[-1]) + CHUNK_PIXELS, CHUNK_PIXELS, device=total.device)
        begin = 0
        for last in torch.searchsorted(total, cuts).clamp_(max=len(self) - 1).tolist():
            if last < begin:
                continue
            part = Runs(*(values[begin : last + 1] for values in (self.triangle, self.row, self.start, self.count)))
            first = torch.cumsum(part.count, 0) - part.count
            rank = torch.arange(part.pixels, device=total.device) - torch.repeat_interleave(first, part.count)
            yield part, rank
            begin = last + 1

    def spread(self, values: Tensor) -> Tensor:
        """One value per run (R, ...) -> one per pixel."""
        return torch.repeat_interleave(values, self.count, 0)


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """``counts`` (N,) int64 -> (owner, rank): each i repeated counts[i] times, and 0..counts[i]-1 beside it."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = torch.cumsum(counts, 0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - torch.repeat_interleave(first, counts)


def runs(points: Tensor, window: tuple[int, int] | None = None) -> Runs:
    """Pixels covered by triangles.

    points: float64 (T, 3, 2), pixel space (x right, y down or up: it doesn't matter here). Either winding;
    zero-area triangles cover nothing. window: (width, height) to clip to, None leaves pixels unbounded.
    """
    x, y = points.unbind(-1)  # T x 3
    first = torch.ceil(y.amin(1) - 0.5)
    last = torch.ceil(y.amax(1) - 0.5)
    if window is not None:
        first, last = first.clamp(0, window[1]), last.clamp(0, window[1])
    triangle, rank = expand((last - first).clamp_(min=0.0).long())
    row = first.long()[triangle] + rank
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
    start = torch.ceil(torch.where(crossed, left, 0.0) - 0.5)
    stop = torch.ceil(torch.where(crossed, right, 0.0) - 0.5)
    if window is not None:
        start, stop = start.clamp(0, window[0]), stop.clamp(0, window[0])
    used = torch.nonzero(stop > start)[:, 0]
    start = start[used].long()
    return Runs(triangle[used], row[used], start, stop[used].long() - start)


def affine_weights(points: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentric weights as affine functions of the offset from a whole-numbered anchor near each triangle.

    points: float64 (T, 3, 2). Returns the anchors, float32 (T, 2), and float64 (T, 3, 3): for each of (value at the
    anchor, slope in x, slope in y) the three weights. Offsets are small, so float32 is exact enough at any size.
    """
    origin = points[:, 0]
    anchor = torch.floor(origin)
    a, b = points[:, 1] - origin, points[:, 2] - origin
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = torch.where(area == 0.0, 0.0, 1.0 / area)
    second = torch.stack([b[:, 1], -b[:, 0]], 1) * inverse[:, None]
    third = torch.stack([-a[:, 1], a[:, 0]], 1) * inverse[:, None]
    offset = anchor - origin
    second = torch.cat([(second * offset).sum(1, keepdim=True), second], 1)  # T x (value, x, y)
    third = torch.cat([(third * offset).sum(1, keepdim=True), third], 1)
    first = second.new_tensor([1.0, 0.0, 0.0]) - second - third
    return anchor.float(), torch.stack([first, second, third], 2)


def barycentric(points: Tensor, at: Tensor) -> Tensor:
    """Weights float32 (N, 3) of positions ``at`` (N, 2) in triangles ``points`` (N, 3, 2), float64."""
    origin = points[:, 0]
    a, b, offset = points[:, 1] - origin, points[:, 2] - origin, at - origin
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = torch.where(area == 0.0, 0.0, 1.0 / area)
    second = ((b[:, 1] * offset[:, 0] - b[:, 0] * offset[:, 1]) * inverse).float().clamp(min=0.0)
    third = ((a[:, 0] * offset[:, 1] - a[:, 1] * offset[:, 0]) * inverse).float().clamp(min=0.0)
    # A rounding error outside the triangle is brought on to it.
    excess = (second + third).clamp(min=1.0)
    second, third = second / excess, third / excess
    return torch.stack([(1.0 - second - third).clamp_(min=0.0), second, third], 1)


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
