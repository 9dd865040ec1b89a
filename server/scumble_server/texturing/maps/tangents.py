"""Tangent space as MikkTSpace has it: the frame that Blender and glTF read normal maps in.

Each triangle's direction of growing u is averaged over the corners that share vertex, normal, UV and handedness, each
weighing by its angle, after it is laid into the plane of the corner's normal. Inside a triangle tangent and normal are
interpolated and not made unit again; the bitangent is their cross product. A map's colour is a combination of the
three, so for a wanted normal it is what solves that.

All of it happens in object space, where Blender has it: under an uneven scale it isn't the same in world space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..mesh import Mesh
from ..surface import cross

__all__ = ["corner_tangents", "in_object_space", "tangent_space"]


def in_object_space(mesh: Mesh, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Corners' positions and unit normals, float64 (T, 3, 3) each. matrix: object -> world, without translation."""
    inverse = torch.linalg.inv(matrix)
    corners = (mesh.vertices @ inverse.T)[mesh.triangles]
    return corners, normalize(mesh.normals.double() @ matrix, dim=2)


def corner_tangents(corners: Tensor, normals: Tensor, uvs: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Unit tangent of each corner, float64 (T, 3, 3), and handedness of each triangle, (T,): -1 where it is mirrored.

    corners, normals: (T, 3, 3). uvs: (T, 3, 2). vertices: int64 (T, 3), by which corners are one place.
    """
    uvs = torch.where(torch.isfinite(uvs), uvs, 0.0)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d1, d2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    hand = torch.where(area > 0.0, 1.0, -1.0).double()
    growing = normalize((e1 * d2[:, 1:] - e2 * d1[:, 1:]) * hand[:, None], dim=1)
    flat = normalize(growing[:, None] - normals * (growing[:, None] * normals).sum(2, keepdim=True), dim=2)
    flat = flat * (area != 0.0)[:, None, None]
    weighted = flat * _angles(corners, normals)[..., None]
    group = _groups(vertices, normals, uvs, hand)
    sums = torch.zeros(int(group.max()) + 1, 3, dtype=corners.dtype, device=corners.device)
    sums.index_add_(0, group.flatten(), weighted.view(-1, 3))
    return normalize(sums, dim=1)[group], hand


def _angles(corners: Tensor, normals: Tensor) -> Tensor:
    """Of each corner, seen along its normal, (T, 3)."""
    ahead, back = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    ahead = normalize(ahead - normals * (ahead * normals).sum(2, keepdim=True), dim=2)
    back = normalize(back - normals * (back * normals).sum(2, keepdim=True), dim=2)
    angles: Tensor = torch.acos((ahead * back).sum(2).clamp(-1.0, 1.0))
    return angles


def _groups(vertices: Tensor, normals: Tensor, uvs: Tensor, hand: Tensor) -> Tensor:
    """Number of the corners that share a tangent, int64 (T, 3)."""
    # Sums of these by 64-bit arithmetic tell any two rows apart but for one in 2**64.
    rows = torch.cat(
        [
            vertices[..., None],
            (normals * 512.0).round().long(),
            (uvs.double() + 0.0).view(torch.int64),
            hand.long()[:, None, None].expand(-1, 3, 1),
        ],
        2,
    ).view(-1, 7)
    key = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for column in rows.unbind(1):
        key = (key ^ (key >> 29)) * -0x40A7B892E31B1A47 + column * 0x27D4EB2F165667C5
        key = (key ^ (key >> 32)) * -0x6B2FB644ECCEEE15
    group: Tensor = torch.unique(key, return_inverse=True)[1].view(-1, 3)
    return group


def tangent_space(wanted: Tensor, tangent: Tensor, normal: Tensor, hand: Tensor) -> Tensor:
    """What a normal map has to hold for a wanted normal, unit float32 (3, N), z at least 0.

    wanted: object space, any length (3, N). tangent, normal: interpolated, as they come (3, N). hand: (N,).
    """
    bitangent = cross(normal, tangent) * hand
    found = torch.stack(
        [
            (wanted * cross(bitangent, normal)).sum(0),
            (wanted * cross(normal, tangent)).sum(0),
            (wanted * cross(tangent, bitangent)).sum(0),
        ]
    )
    whole = (tangent * cross(bitangent, normal)).sum(0)
    found = found * torch.where(whole < 0.0, -1.0, 1.0)
    flat = (whole.abs() < 1e-12) | ~torch.isfinite(found).all(0)
    found = torch.where(flat, torch.tensor([0.0, 0.0, 1.0], device=found.device)[:, None], found)
    found[2] = found[2].clamp(min=1e-3)
    return normalize(found, dim=0)
