"""Points on a mesh: where texels are in the world, which way they face, how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .mesh import Mesh
from .raster import TexelMap, Texels, evaluate

__all__ = ["Surface", "SurfacePoints", "cross", "dot", "tangent_frames"]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Of vectors (3, N), each -> (N,)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Of vectors (3, ...), each of the same shape; a third of the time that torch's own takes along the first axis."""
    found = torch.empty_like(a)
    for axis in range(3):
        second, third = (axis + 1) % 3, (axis + 2) % 3
        torch.mul(a[second], b[third], out=found[axis]).addcmul_(a[third], b[second], value=-1.0)
    return found


@dataclass(frozen=True)
class SurfacePoints:
    """N surface points, float32 (3, N) each. position: world, from the surface's origin. normal: shading normal, unit.
    face_normal: outward, unit. object_id: of all of them."""

    position: Tensor
    normal: Tensor
    face_normal: Tensor
    object_id: int

    def __len__(self) -> int:
        return self.position.shape[1]

    # What all views need of the points, worked out once.

    @cached_property
    def plane(self) -> Tensor:
        """Of the tangent plane: normal . position, (N,)."""
        return dot(self.normal, self.position)

    @cached_property
    def face_plane(self) -> Tensor:
        """The same of the face."""
        return dot(self.face_normal, self.position)

    @cached_property
    def square(self) -> Tensor:
        """Of the distance from the origin, (N,)."""
        return dot(self.position, self.position)


class Surface:
    """A mesh and its rasterised UV map, prepared for working out many texels.

    Positions are kept in float32 from ``origin`` (float64 (3,), the middle of the mesh), so that objects far from the
    world's origin lose nothing. radius: of the sphere round the origin that holds the mesh.
    """

    def __init__(self, mesh: Mesh, texels: TexelMap) -> None:
        self.mesh = mesh
        self.texels = texels
        self.origin = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2.0
        self.radius = float((mesh.vertices - self.origin).norm(dim=1).amax())
        corners = (mesh.vertices - self.origin)[mesh.triangles]
        face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.areas = face.norm(dim=1) / 2.0  # float64 (T,)
        outward = face * (mesh.outward / self.areas.clamp(min=1e-300) / 2.0)[:, None]
        self._face_normals = outward.float().T.contiguous()  # 3 x T
        self._affine = texels.affine(torch.cat([corners, mesh.normals.double()], 2))

    def points(self, texels: Texels) -> SurfacePoints:
        values = evaluate(self._affine, texels)
        normal = values[3:]
        normal = normal * torch.rsqrt(dot(normal, normal).clamp(min=1e-30))
        face_normal = self._face_normals.index_select(1, texels.triangle)
        return SurfacePoints(values[:3], normal, face_normal, self.mesh.object_id)

    def texel_areas(self) -> Tensor:
        """World area of one texel, per triangle, float32 (T,); 0 for triangles without UV area."""
        points = self.texels.points
        a, b = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
        flat = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs() / 2.0
        return torch.where(flat > 0.0, self.areas / flat.clamp(min=1e-300), 0.0).float()


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
