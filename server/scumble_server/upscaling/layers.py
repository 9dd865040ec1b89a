"""What an image to be enlarged consists of: its colours, without holes, and its alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scumble_shared.tensor import AnyArray
from torch import Tensor

from .resample import resample

__all__ = ["Layers", "from_array", "to_array"]


@dataclass(frozen=True, slots=True)
class Layers:
    """colour: float32 1 x 3 x H x W, 0 to 1. alpha: float32 1 x 1 x H x W, None where there is none. dtype: of the
    array they came from."""

    colour: Tensor
    alpha: Tensor | None
    dtype: np.dtype[Any]

    def enlarged_alpha(self, height: int, width: int, tiling: str) -> Tensor | None:
        """Smooth, and exactly 0 or 1 where its surroundings are."""
        if self.alpha is None:
            return None
        return resample(self.alpha, height, width, tiling).clamp(0.0, 1.0)


def from_array(image: AnyArray, device: torch.device) -> Layers:
    """uint8 or uint16 H x W x 3 or 4. Colours where alpha is 0 are replaced by the nearest where it isn't."""
    values = image.astype(np.float32) / np.iinfo(image.dtype).max
    colour = values[..., :3]
    alpha = values[..., 3] if image.shape[2] == 4 else None
    if alpha is not None and bool((alpha > 0.0).any()) and not bool((alpha > 0.0).all()):
        rows, columns = distance_transform_edt(alpha == 0.0, return_distances=False, return_indices=True)
        colour = colour[rows, columns]
    planes = torch.from_numpy(np.ascontiguousarray(colour)).permute(2, 0, 1)[None].contiguous().to(device)
    return Layers(planes, None if alpha is None else torch.from_numpy(alpha)[None, None].to(device), image.dtype)


def to_array(colour: Tensor, alpha: Tensor | None, dtype: np.dtype[Any]) -> AnyArray:
    """H x W x 3 or 4 of ``dtype``, rounded to nearest."""
    planes = colour if alpha is None else torch.cat([colour, alpha], 1)
    most = float(np.iinfo(dtype).max)
    values = planes[0].permute(1, 2, 0).clamp(0.0, 1.0).double() * most
    array: AnyArray = values.round().cpu().numpy().astype(dtype)
    return array
