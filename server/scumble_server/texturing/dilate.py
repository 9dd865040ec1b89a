"""Padding: texels around islands take the value of the nearest texel inside.

Without it, bilinear filtering and mip levels would pull the background in and draw every seam.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_filled", "padding"]

_FREE = torch.iinfo(torch.int64).max
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1))


def padding(size: int) -> int:
    """Texels to dilate by for a texture of this side: 8 per 1024, and never fewer than 4."""
    return max(4, -(-8 * size // 1024))


def nearest_filled(
    filled: Tensor, radius: int, label: Tensor | None = None, *, repeats: bool = True
) -> tuple[Tensor, Tensor]:
    """Nearest filled texel of every empty one within ``radius``.

    filled: bool (H, W). label: int (H, W); values only travel through texels of their own label. repeats: the texture
    does, so that they also travel across its edges. Returns flat int64
    (target, source), each (N,). Sources travel outwards one ring of texels a step, so the work is that of the padded
    area alone; the nearest source in Euclid's sense is kept.
    """
    height, width = filled.shape
    reached = filled.clone().flatten()
    labels = None if label is None else label.flatten()
    best = torch.full((height * width,), _FREE, dtype=torch.int64, device=filled.device)
    at = torch.nonzero(_rim(filled).flatten())[:, 0]
    source, dx, dy = at, torch.zeros_like(at), torch.zeros_like(at)
    targets, sources = [at[:0]], [at[:0]]
    for _ in range(radius):
        x, y = at % width, at // width
        next_at = torch.cat([(y + oy) % height * width + (x + ox) % width for ox, oy in _NEIGHBOURS])
        next_dx = torch.cat([dx + ox for ox, _ in _NEIGHBOURS])
        next_dy = torch.cat([dy + oy for _, oy in _NEIGHBOURS])
        next_source = source.repeat(len(_NEIGHBOURS))
        reachable = ~reached[next_at]
        if not repeats:
            stays = [(x + ox >= 0) & (x + ox < width) & (y + oy >= 0) & (y + oy < height) for ox, oy in _NEIGHBOURS]
            reachable &= torch.cat(stays)
        if labels is not None:
            reachable &= labels[next_at] == labels[next_source]
        free = torch.nonzero(reachable)[:, 0]
        if len(free) == 0:
            break
        next_at, next_dx, next_dy, next_source = next_at[free], next_dx[free], next_dy[free], next_source[free]
        key = (next_dx * next_dx + next_dy * next_dy) << 32 | torch.arange(len(free), device=free.device)
        best.scatter_reduce_(0, next_at, key, "amin")
        won = best[next_at] == key
        at, source, dx, dy = next_at[won], next_source[won], next_dx[won], next_dy[won]
        reached[at] = True
        targets.append(at)
        sources.append(source)
    return torch.cat(targets), torch.cat(sources)


def _rim(filled: Tensor) -> Tensor:
    """Filled texels with an empty neighbour."""
    empty = ~filled
    rows = empty | empty.roll(1, 0) | empty.roll(-1, 0)
    return filled & (rows | rows.roll(1, 1) | rows.roll(-1, 1))
