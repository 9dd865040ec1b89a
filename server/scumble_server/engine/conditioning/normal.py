"""Normals as ``control_v11p_sd15_normalbae`` knows them: "blue is front, red is left, green is top"."""

from __future__ import annotations

import torch

from .pixels import resize_smooth

__all__ = ["BACKGROUND", "normal_image"]

BACKGROUND = (0.5, 0.5, 1.0)
"""Where nothing is hit: facing the viewer, as the detector the ControlNet was trained on draws plain surroundings."""


def normal_image(normal: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
    """View-space normals -> control image, RGB = ((-x, y, z) + 1) / 2.

    normal: B x H x W x 3, x right, y up, z towards the viewer, unit; zero where nothing is hit.
    size: (width, height) of the result, None for the input's. Directions are averaged and made unit again; outlines
        are mixed with the background by coverage.
    Returns float32 B x 3 x H x W in [0, 1].
    """
    direction = normal.float().permute(0, 3, 1, 2)
    coverage = (direction != 0.0).any(dim=1, keepdim=True).float()
    if size is not None:
        direction, coverage = resize_smooth(direction, *size), resize_smooth(coverage, *size)
    unit = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(1e-12)
    signs = torch.tensor([-1.0, 1.0, 1.0], device=unit.device).reshape(1, 3, 1, 1)
    background = torch.tensor(BACKGROUND, device=unit.device).reshape(1, 3, 1, 1)
    return torch.lerp(background, unit * signs * 0.5 + 0.5, coverage)
