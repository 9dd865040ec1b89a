"""What an image to be enlarged consists of: its colours, without holes, and its alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from scumble_shared.tensor import AnyArray
from torch import Tensor

from .resample import resample

__all__ = ["Layers", "from_array", "planes", "to_array"]


@dataclass(frozen=True, slots=True)
class Layers:
    """colour: float32 1 x 3 x H x W, 0 to 1. alpha: float32 1 x 1 x H x W, None where there is none. dtype: of the
    array they came from."""

    colour: Tensor
    alpha: Tensor | None
    dtype: np.dtype[Any]

    def enlarged_alpha(self, height: int, width: int, tiling: str) -> Tensor | None:
        """Smooth, and no less or more than what is around: 0 and 1 stay what they are."""
        if self.alpha is None:
            return None
        smooth = resample(self.alpha, height, width, tiling)
        least, most = (-F.max_pool2d(-self.alpha, 3, 1, 1), F.max_pool2d(self.alpha, 3, 1, 1))
        least, most = (F.interpolate(around, (height, width), mode="nearest-exact") for around in (least, most))
        return smooth.clamp(least, most)


def from_array(image: AnyArray, device: torch.device) -> Layers:
    """uint8 or uint16 H x W x 3 or 4. Colours where alpha is 0 are replaced by the nearest where it isn't."""
    if image.shape[2] == 3:
        return Layers(planes(image).to(device), None, image.dtype)
    holes = image[..., 3] == 0
    colour = image[..., :3]
    if holes.any() and not holes.all():
        rows, columns = distance_transform_edt(holes, return_distances=False, return_indices=True)
        colour = colour[rows, columns]
    return Layers(planes(colour).to(device), planes(image[..., 3:]).to(device), image.dtype)


def planes(image: AnyArray) -> Tensor:
    """uint8 or uint16 H x W x C -> float32 1 x C x H x W, 0 to 1."""
    values = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
    return torch.from_numpy(values / np.float32(np.iinfo(image.dtype).max))


def to_array(colour: Tensor, alpha: Tensor | None, dtype: np.dtype[Any]) -> AnyArray:
    """H x W x 3 or 4 of ``dtype``, rounded to nearest."""
    values = colour if alpha is None else torch.cat([colour, alpha], 1)
    most = float(np.iinfo(dtype).max)
    array: AnyArray = (values[0].permute(1, 2, 0).clamp(0.0, 1.0) * most).round().cpu().numpy().astype(dtype)
    return array
