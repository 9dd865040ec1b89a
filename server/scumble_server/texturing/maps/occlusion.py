"""How much of the sky each place sees, from many sides at once: one depth picture a side, and all points looked up.

Ambient occlusion is the share of cosine-weighted directions above a surface that nothing blocks. Directions are spread
evenly over the sphere; each gives a parallel projection of all meshes, and a point sees that side if nothing is nearer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scumble_shared.camera import Camera, look_at, orthographic
from torch import Tensor
from torch.nn.functional import grid_sample

from ..mesh import Mesh
from ..render import render_view
from ..surface import SurfacePoints

__all__ = ["Sky", "sky_of"]

DIRECTIONS = 48
SIDE = 192
"""Pixels of the depth pictures."""

MIN_COSINE = 0.05


@dataclass(frozen=True, slots=True)
class _Side:
    """direction: towards the viewer, world, (3,). depth: float32 (1, 1, SIDE, SIDE), far where nothing is."""

    camera: Camera
    direction: Tensor
    depth: Tensor


@dataclass(frozen=True, slots=True)
class Sky:
    """footprint: world size of a pixel of the depth pictures."""

    sides: Sequence[_Side]
    footprint: float

    def openness(self, points: SurfacePoints, origin: Tensor) -> Tensor:
        """Share of the sky that each point sees, float32 (N,): 1 where nothing is in the way."""
        seen = torch.zeros(len(points), device=points.position.device)
        whole = torch.zeros_like(seen)
        for side in self.sides:
            cosine = side.direction @ points.normal
            turned = side.direction @ points.face_normal
            above = torch.nonzero(torch.minimum(cosine, turned) > MIN_COSINE)[:, 0]
            if len(above) == 0:
                continue
            weight = cosine[above]
            whole[above] += weight
            lit = self._lit(side, points.position[:, above], points.face_normal[:, above], turned[above], origin)
            seen[above] += weight * lit
        return torch.where(whole > 0.0, seen / whole.clamp(min=1e-6), 1.0)

    def _lit(self, side: _Side, position: Tensor, face: Tensor, turned: Tensor, origin: Tensor) -> Tensor:
        """In [0, 1]: how many of the four pixels round each point have nothing nearer."""
        matrix = torch.from_numpy(side.camera.view_matrix).to(origin.device)
        offset = (matrix[:3, :3] @ origin + matrix[:3, 3]).float()[:, None]
        # Off the surface by a pixel, so that it doesn't block itself.
        raised = position + face * self.footprint
        view = matrix[:3, :3].float() @ raised + offset
        p = side.camera.projection_matrix
        grid = torch.stack([view[0] * float(p[0, 0]), -view[1] * float(p[1, 1])], 1)
        near = grid_sample(side.depth, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
        slope = torch.sqrt((1.0 - turned * turned).clamp(min=0.0)) / turned
        margin = self.footprint * (0.5 + slope.clamp(max=8.0))
        away = (near[0, 0, 0] + view[2] + margin) / self.footprint
        return away.clamp(0.0, 1.0)


def sky_of(meshes: Sequence[Mesh], check: Callable[[], None] = lambda: None) -> Sky:
    """What the meshes block of each other's sky. ``check`` is called between directions and may raise."""
    low = torch.stack([mesh.vertices.amin(0) for mesh in meshes]).amin(0)
    high = torch.stack([mesh.vertices.amax(0) for mesh in meshes]).amax(0)
    middle, radius = ((low + high) / 2.0).cpu().numpy(), max(float((high - low).norm()) / 2.0, 1e-9)
    sides = []
    for direction in _spread(DIRECTIONS):
        check()
        eye = middle + direction * (2.0 * radius)
        placed = look_at(tuple(eye), tuple(middle))
        projection = orthographic(2.02 * radius, 2.02 * radius, 0.5 * radius, 3.5 * radius)
        camera = Camera(placed, projection, SIDE, SIDE, 0.5 * radius, 3.5 * radius)
        depth = render_view(meshes, camera).depth.clamp(max=4.0 * radius)
        towards = torch.from_numpy(-camera.forward).float().to(low.device)
        sides.append(_Side(camera, towards, depth[None, None]))
    return Sky(sides, 2.02 * radius / SIDE)


def _spread(count: int) -> NDArray[np.float64]:
    """Unit vectors spread evenly over the sphere (a Fibonacci lattice), float64 (count, 3)."""
    rank = np.arange(count) + 0.5
    z = 1.0 - 2.0 * rank / count
    angle = math.pi * (1.0 + math.sqrt(5.0)) * rank
    ring = np.sqrt(1.0 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
