"""Random fields over 3D points: the noise all procedural materials are made of.

Every field is one look-up in a small tileable volume (trilinear, wrapped), so it costs a single gather on a
CPU and on a GPU alike. The volumes come from fixed seeds: the same point has the same value everywhere.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cells", "fbm", "noise", "ridged", "smooth", "warp"]

NOISE_SIZE = 64
CELL_COUNT, CELL_VOXELS = 8, 12


@lru_cache(maxsize=4)
def _noise_volume(device: torch.device) -> Tensor:
    """(1, 4, S+1, S+1, S+1): four independent white-noise volumes in [-1, 1], the last layer repeating the first."""
    generator = torch.Generator().manual_seed(11)
    volume = torch.rand(1, 4, NOISE_SIZE, NOISE_SIZE, NOISE_SIZE, generator=generator) * 2.0 - 1.0
    return _wrap(volume).to(device)


@lru_cache(maxsize=4)
def _cell_volume(device: torch.device) -> Tensor:
    """(1, 3, S+1, S+1, S+1): distance to the nearest and second-nearest seed (in cells), and the nearest's number."""
    generator = torch.Generator().manual_seed(12)
    n, size = CELL_COUNT, CELL_COUNT * CELL_VOXELS
    seeds = torch.rand(n, n, n, 3, generator=generator) * 0.8 + 0.1
    number = torch.rand(n, n, n, generator=generator)
    axis = torch.arange(size) / CELL_VOXELS
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    base = points.floor().long()
    first = torch.full((size,) * 3, 9.0)
    second, nearest = first.clone(), torch.zeros((size,) * 3)
    for offset in torch.cartesian_prod(*[torch.arange(-1, 2)] * 3):
        cell = base + offset
        i, j, k = (cell % n).unbind(-1)
        distance = (cell + seeds[i, j, k] - points).norm(dim=-1)
        closer = distance < first
        second = torch.where(closer, first, torch.minimum(second, distance))
        nearest = torch.where(closer, number[i, j, k], nearest)
        first = torch.minimum(first, distance)
    # grid_sample reads volumes as (z, y, x): transpose so that x comes first in the look-up.
    return _wrap(torch.stack([first, second, nearest])[None].transpose(2, 4).contiguous()).to(device)


def _wrap(volume: Tensor) -> Tensor:
    return F.pad(volume, (0, 1, 0, 1, 0, 1), mode="circular")


def _look_up(volume: Tensor, index: Tensor, mode: str) -> Tensor:
    """Values (C, N) of a wrapped (1, C, S+1, S+1, S+1) volume at voxel coordinates (N, 3)."""
    size = volume.shape[-1] - 1
    grid = index.remainder(size) * (2.0 / size) - 1.0
    return F.grid_sample(volume, grid[None, :, None, None, :], mode=mode, align_corners=True)[0, :, :, 0, 0]


def smooth(low: float, high: float, x: Tensor) -> Tensor:
    """Smoothstep from 0 at ``low`` to 1 at ``high`` (which may be the smaller)."""
    t = ((x - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def noise(points: Tensor, channels: int = 1) -> Tensor:
    """Smooth value noise in [-1, 1], one feature per unit. points (N, 3) -> (N,), or (N, channels) up to 4."""
    cell = points.floor()
    t = points - cell
    values = _look_up(_noise_volume(points.device)[:, :channels], cell + t * t * (3.0 - 2.0 * t), "bilinear")
    return values[0] if channels == 1 else values.T


def fbm(points: Tensor, octaves: int = 4, gain: float = 0.5) -> Tensor:
    """Fractal noise, about [-1, 1]. points (N, 3) -> (N,)."""
    total, amplitude, norm = torch.zeros_like(points[:, 0]), 1.0, 0.0
    for octave in range(octaves):
        total = total + amplitude * noise(points * 2.03**octave + 17.3 * octave)
        norm += amplitude
        amplitude *= gain
    return total * (1.6 / norm)


def ridged(points: Tensor, octaves: int = 4) -> Tensor:
    """Fractal noise with sharp crests, [0, 1], 1 on the crest. points (N, 3) -> (N,)."""
    total, amplitude, norm = torch.zeros_like(points[:, 0]), 1.0, 0.0
    for octave in range(octaves):
        total = total + amplitude * (1.0 - noise(points * 2.03**octave + 9.1 * octave).abs() * 1.6)
        norm += amplitude
        amplitude *= 0.5
    return (total / norm).clamp(0.0, 1.0)


def warp(points: Tensor, amount: float, scale: float = 1.0) -> Tensor:
    """Points displaced by vector noise of that amount. (N, 3) -> (N, 3)."""
    return points + amount * noise(points * scale + 31.7, 3)


def cells(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Voronoi cells, about one per unit: distance to the centre, distance to the edge, number in [0, 1]; each (N,)."""
    volume = _cell_volume(points.device)
    index = points * CELL_VOXELS
    first, second = _look_up(volume[:, :2], index, "bilinear")
    return first, second - first, _look_up(volume[:, 2:], index, "nearest")[0]
