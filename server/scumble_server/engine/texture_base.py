"""What is painted already, as the views of a texture job see it: for controls that are shown colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scumble_shared.camera import Camera
from scumble_shared.tensor import AnyArray

from ..texturing.base import Base
from ..texturing.color import display, linear_light
from ..texturing.mesh import Mesh
from ..texturing.raster import rasterise
from ..texturing.textured import textured_view

__all__ = ["base_colors"]

BESIDE = 128
"""Grey, sRGB: beside the meshes, and where nothing is painted on them."""


def base_colors(meshes: Sequence[Mesh], bases: Sequence[Base | None], cameras: Sequence[Camera]) -> list[AnyArray]:
    """Unlit, uint8 H x W x 4 for each camera, as :class:`scumble_shared.job.View` has colours. bases: of each mesh."""
    painted = [(mesh, base) for mesh, base in zip(meshes, bases, strict=True) if base is not None]
    texels = [rasterise(mesh, base.image.shape[0]) for mesh, base in painted]
    textures = [_colours(base, mesh.vertices.device) for mesh, base in painted]
    pictures = []
    for camera in cameras:
        linear, hit = textured_view([mesh for mesh, _ in painted], texels, textures, camera)
        shown = torch.where(hit, linear, _grey(linear.device))
        colour = display(shown, 8).transpose(1, 2, 0)
        pictures.append(np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=2))
    return pictures


def _colours(base: Base, device: torch.device) -> torch.Tensor:
    """float32 (3, S * S), linear."""
    colour = linear_light(base.image[..., :3], device).view(-1, 3).T
    alpha = base.image[..., 3].reshape(-1).astype(np.float32) / float(np.iinfo(base.image.dtype).max)
    return torch.lerp(_grey(device)[..., 0].expand_as(colour), colour, torch.from_numpy(alpha).to(device))


def _grey(device: torch.device) -> torch.Tensor:
    """float32 (3, 1, 1), linear."""
    return linear_light(np.full((3, 1, 1), BESIDE, np.uint8), device)
