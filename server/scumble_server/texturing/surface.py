"""Points on a mesh: where texels are in the world, which way they face, how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mesh import Mesh
from .raster import TexelMap, Texels

__all__ = ["Surface", "SurfacePoints", "tangent_frames", "texel_areas"]


@dataclass(frozen=True, slots=True)
class SurfacePoints:
    """N surface points, float32 (N, 3) each. position: world, from the surface's origin. normal: shading normal, unit.
    face_normal: outward, unit. object_id: of all of them."""

    position: Tensor
    normal: Tensor
    face_normal: Tensor
    object_id: int

    def __len__(self) -> int:
        return len(self.position)


class Surface:
    """A mesh prepared for looking up many texels.

    Positions are kept in float32 from ``origin`` (float64 (3,), the middle of the mesh), so that objects far from the
    world's origin lose nothing.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.origin = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2.0
        self.radius = float((mesh.vertices - self.origin).norm(dim=1).amax())
        corners = (mesh.vertices - self.origin)[mesh.triangles]
        face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.areas = face.norm(dim=1) / 2.0  # float64 (T,)
        face = face * (mesh.outward / self.areas.clamp(min=1e-300)[:, None] / 2.0)
        self.face_normals = face.float()
        self._corners = torch.cat([corners.float(), mesh.normals], 2)  # T x 3 x 6

    def points(self, texels: Texels) -> SurfacePoints:
        mixed = texels.interpolate(self._corners)
        normal = torch.nn.functional.normalize(mixed[:, 3:], dim=1)
        return SurfacePoints(mixed[:, :3], normal, self.face_normals[texels.triangle], self.mesh.object_id)


def texel_areas(surface: Surface, texels: TexelMap) -> Tensor:
    """World area of one texel, per triangle, float32 (T,); 0 for triangles without UV area."""
    a, b = texels.points[:, 1] - texels.points[:, 0], texels.points[:, 2] - texels.points[:, 0]
    flat = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs() / 2.0
    return torch.where(flat > 0.0, surface.areas / flat.clamp(min=1e-300), 0.0).float()


def tangent_frames(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """World directions in which u and v grow, unit float32 (T, 3) each; zero where the UVs have no area.

    With the normal they make the frame of Blender's and glTF's tangent-space normal maps (v up, +Y green).
    """
    corners = mesh.vertices[mesh.triangles]
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    uvs = torch.where(torch.isfinite(mesh.uvs), mesh.uvs, 0.0)
    d1, d2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    sign = torch.sign(d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0])[:, None]
    tangent = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) * sign
    bitangent = (e2 * d1[:, :1] - e1 * d2[:, :1]) * sign
    return (
        torch.nn.functional.normalize(tangent, dim=1).float(),
        torch.nn.functional.normalize(bitangent, dim=1).float(),
    )
