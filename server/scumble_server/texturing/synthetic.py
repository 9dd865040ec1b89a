"""Pictures whose truth is known: a solid texture, defined everywhere in space, seen from any camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

from .mesh import Mesh
from .raster import TexelMap
from .render import Visible, render_view

__all__ = ["Shot", "Solid", "marble", "photograph", "psnr", "show"]

Solid = Callable[[Tensor], Tensor]
"""World positions (3, N) -> display-referred colours (C, N) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Shot:
    """visible: what the camera sees. image: float32 (C, H, W), display-referred; background is grey."""

    visible: Visible
    image: Tensor


def marble(frequency: float) -> Solid:
    """Bent waves in three directions, one a channel; ``frequency`` is in radians per scene unit."""

    def colour(position: Tensor) -> Tensor:
        x, y, z = position
        waves = [
            frequency * x + torch.sin(3.0 * y),
            frequency * y + torch.sin(3.0 * z),
            frequency * z + torch.sin(3.0 * x),
        ]
        return 0.5 + 0.4 * torch.stack([torch.sin(wave + shift) for shift, wave in enumerate(waves)])

    return colour


def photograph(meshes: Sequence[Mesh], camera: Camera, solid: Solid) -> Shot:
    """What a camera sees of meshes that are made of a solid texture, sampled at pixel centres."""
    visible = render_view(meshes, camera)
    owner = visible.mesh.flatten()
    image = torch.full((len(solid(torch.zeros(3, 1))), owner.numel()), 0.5, device=owner.device)
    for number, mesh in enumerate(meshes):
        where = torch.nonzero(owner == number)[:, 0]
        corners = mesh.vertices[mesh.triangles[visible.triangle.flatten()[where]]]
        weights = visible.weights.view(-1, 3)[where].double()
        image[:, where] = solid(torch.einsum("nk,nkc->cn", weights, corners)).float()
    return Shot(visible, image.view(-1, camera.height, camera.width))


def show(mesh: Mesh, texels: TexelMap, texture: Tensor, camera: Camera, background: float = 0.5) -> Tensor:
    """A textured mesh, unlit: float32 (C, H, W). texture: float32 (C, S, S), bilinear, no mip levels."""
    visible = render_view([mesh], camera)
    where = torch.nonzero(visible.mesh.flatten() == 0)[:, 0]
    triangle = visible.triangle.flatten()[where]
    weights = visible.weights.view(-1, 3)[where].double()
    at = torch.einsum("nk,nkc->nc", weights, texels.points[triangle]) % texels.size
    grid = (at / texels.size * 2.0 - 1.0).float()
    image = torch.full((len(texture), camera.height * camera.width), background, device=texture.device)
    image[:, where] = torch.nn.functional.grid_sample(
        texture[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]
    return image.view(-1, camera.height, camera.width)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1]."""
    error = float(((a.double() - b.double()) ** 2).mean())
    return float("inf") if error == 0.0 else float(-10.0 * torch.log10(torch.tensor(error)))
