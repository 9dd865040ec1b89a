"""Texels that no view sees take on the colours around them, in space: across seams, not across the UV map.

What is seen is gathered into a coarse grid of cells round the object. Empty cells are filled from coarser and coarser
grids (pull, then push), so colour spreads smoothly from wherever it is nearest, in a few dense passes however large
the hole is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, grid_sample, interpolate

from .surface import Surface

__all__ = ["fill_unseen"]

CELLS = 128
"""Cells along the object's bounding cube at the finest level."""

TRUST = 0.01
"""Weight relative to the typical one below which a texel is drawn towards its surroundings."""

CHUNK_TEXELS = 1 << 17


def fill_unseen(
    surfaces: Sequence[Surface],
    colours: Sequence[Tensor],
    weights: Sequence[Tensor],
    check: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """Fill texels of zero weight, and steady those of next to none.

    surfaces: parts of one mesh. colours: float32 (C, S * S) of each part, changed in place. weights: float32 (S * S,).
    Returns how far each texel can be trusted, float32 (S * S,) in [0, 1]: 0 is filled, 1 is seen. Without any seen
    texel nothing changes.
    """
    seen = torch.cat([weight[weight > 0.0] for weight in weights])
    if len(seen) == 0:
        return [torch.zeros_like(weight) for weight in weights]
    typical = seen[:: max(1, len(seen) // 65536)].median()
    trusts = [(weight / (typical * TRUST)).clamp(max=1.0) for weight in weights]
    wanting = [
        torch.nonzero((surface.texels.triangle >= 0) & (trust < 1.0))[:, 0]
        for surface, trust in zip(surfaces, trusts, strict=True)
    ]
    if not any(map(len, wanting)):
        return trusts
    cells = _push(_pull(_gather(surfaces, colours, trusts, check)))
    for surface, colour, trust, index in zip(surfaces, colours, trusts, wanting, strict=True):
        for some in torch.split(index, CHUNK_TEXELS):
            check()
            position = surface.points(surface.texels.at(some)).position
            grid = (position / surface.radius).T[None, None, None]
            around = grid_sample(cells, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0, 0]
            share = trust[some]
            colour[:, some] = colour[:, some] * share + around * (1.0 - share)
    return trusts


def _gather(
    surfaces: Sequence[Surface], colours: Sequence[Tensor], trusts: Sequence[Tensor], check: Callable[[], None]
) -> Tensor:
    """Sums of colour and of trust per cell, float32 (1, C + 1, CELLS, CELLS, CELLS); z, y, x in that order."""
    channels = len(colours[0])
    sums = torch.zeros(channels + 1, CELLS**3, device=colours[0].device)
    firm = [
        torch.nonzero((surface.texels.triangle >= 0) & (trust > 0.5))[:, 0]
        for surface, trust in zip(surfaces, trusts, strict=True)
    ]
    # A dozen texels tell a cell as much as a hundred.
    step = max(1, sum(map(len, firm)) // (CELLS * CELLS * 32))
    for surface, colour, index in zip(surfaces, colours, firm, strict=True):
        for some in torch.split(index[::step], CHUNK_TEXELS):
            check()
            position = surface.points(surface.texels.at(some)).position
            cell = ((position / surface.radius * 0.5 + 0.5) * CELLS).long().clamp_(0, CELLS - 1)
            flat = (cell[2] * CELLS + cell[1]) * CELLS + cell[0]
            for channel in range(channels):
                sums[channel].index_add_(0, flat, colour[channel, some])
            sums[-1].index_add_(0, flat, torch.ones_like(flat, dtype=torch.float32))
    return sums.view(1, channels + 1, CELLS, CELLS, CELLS)


def _pull(sums: Tensor) -> list[Tensor]:
    """Finest to coarsest; each level holds mean colour (0 where empty) and how well filled it is, in [0, 1]."""
    amount = sums[:, -1:]
    level = torch.cat([sums[:, :-1] / amount.clamp(min=1.0), (amount > 0.0).float()], 1)
    levels = [level]
    while level.shape[-1] > 1:
        share = level[:, -1:]
        pooled = avg_pool3d(torch.cat([level[:, :-1] * share, share], 1), 2)
        level = torch.cat([pooled[:, :-1] / pooled[:, -1:].clamp(min=1e-6), (pooled[:, -1:] * 4.0).clamp(max=1.0)], 1)
        levels.append(level)
    return levels


def _push(levels: list[Tensor]) -> Tensor:
    """Colour of every cell of the finest level, float32 (1, C, CELLS, CELLS, CELLS)."""
    colour = levels[-1][:, :-1]
    for level in reversed(levels[:-1]):
        coarse = interpolate(colour, scale_factor=2, mode="trilinear", align_corners=False)
        share = level[:, -1:]
        colour = level[:, :-1] * share + coarse * (1.0 - share)
    return colour
