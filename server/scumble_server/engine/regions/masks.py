"""What part each prompt has at each place. Pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["levels", "shares"]

SOFTENED = 3
"""Latent pixels across that an edge is spread over: a hard one shows as a seam in what is mixed."""


def shares(masks: Tensor, weights: Sequence[float], size: tuple[int, int]) -> Tensor:
    """Masks of regions -> the part of each prompt, the picture's own first.

    masks: V x R x H x W, 0 to 1. weights: of the R regions, 0 to 1. size: rows and columns of the result.
    Returns float32 V x (1 + R) x rows x columns, 0 to 1, whose sum over the prompts is one at each place. Regions that
    together want more than there is share it as they want it; what none wants is the picture's own prompt's. A region
    that is everywhere stays so up to the edge of the picture.
    """
    small = F.adaptive_avg_pool2d(masks.float(), size)
    soft = F.avg_pool2d(small, SOFTENED, 1, SOFTENED // 2, count_include_pad=False)
    wanted = soft * torch.tensor(list(weights), dtype=torch.float32, device=masks.device)[:, None, None]
    wanted = wanted / wanted.sum(1, keepdim=True).clamp_min(1.0)
    return torch.cat([(1.0 - wanted.sum(1, keepdim=True)).clamp_min(0.0), wanted], dim=1)


def levels(parts: Tensor, count: int) -> dict[int, Tensor]:
    """The same for each level of a UNet, of which each has half as many rows and columns as the one before, rounded up;
    by the number of places. parts: V x P x rows x columns. Values: V x P x places x 1."""
    found = {}
    rows, columns = parts.shape[2:]
    for _ in range(count):
        found[rows * columns] = F.adaptive_avg_pool2d(parts, (rows, columns)).flatten(2)[..., None]
        rows, columns = -(-rows // 2), -(-columns // 2)
    return found
