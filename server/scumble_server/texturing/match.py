"""Views generated one by one differ a little in brightness and tint; where they overlap, that can be measured."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["view_gains"]

PULL = 0.05
"""Strength with which gains are drawn to 1, as a share of the samples: views that overlap nothing stay as they are."""

LIMIT = 2.0
"""No view is made more than this many times brighter or darker."""


def view_gains(colours: Tensor, weights: Tensor) -> Tensor:
    """Gain per view and channel that makes overlapping views agree best.

    colours: float32 (V, C, N), linear light, of N texels in V views. weights: float32 (V, N), 0 where not seen.
    Returns float32 (V, C). Least squares in the logarithm over all pairs that see a texel, each pair weighing as much
    as the weaker of the two; the mean over the views is kept.
    """
    views, channels, _ = colours.shape
    # Differences of dark texels are noise in the logarithm; a floor keeps them small.
    logs = torch.log(colours.clamp(min=0.0) + 0.02)
    system = torch.zeros(views, views, dtype=torch.float64)
    target = torch.zeros(views, channels, dtype=torch.float64)
    for i in range(views):
        for j in range(i + 1, views):
            shared = torch.minimum(weights[i], weights[j])
            amount = float(shared.sum())
            if amount == 0.0:
                continue
            difference = ((logs[j] - logs[i]) * shared).sum(1).double().cpu()  # C
            system[i, i] += amount
            system[j, j] += amount
            system[i, j] -= amount
            system[j, i] -= amount
            target[i] += difference
            target[j] -= difference
    pull = PULL * float(weights.sum()) / views + 1e-9
    gains = torch.linalg.solve(system + pull * torch.eye(views, dtype=torch.float64), target)
    gains = gains - gains.mean(0)
    return torch.exp(gains).clamp(1.0 / LIMIT, LIMIT).float().to(colours.device)
