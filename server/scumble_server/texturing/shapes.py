"""Procedural meshes with UV maps: shapes whose truth is known, for tests, benchmarks and `scumble bench`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .mesh import Mesh, make_mesh

__all__ = ["Shape", "cube", "grid", "links", "merge", "plane", "sculpt", "smooth", "thin_wall", "torus", "uv_sphere"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Arrays as in :class:`scumble_shared.job.MeshRef`, object space."""

    vertices: FloatArray
    triangles: NDArray[np.int32]
    normals: FloatArray
    uvs: FloatArray

    def mesh(self, name: str = "shape", object_id: int = 1) -> Mesh:
        """On the CPU, standing at the origin."""
        return make_mesh(name, self.vertices, self.triangles, self.normals, self.uvs, object_id=object_id)


def grid(
    position: NDArray[np.float64], normal: NDArray[np.float64], uv: NDArray[np.float64], *, merge_seams: bool = True
) -> Shape:
    """A (rows + 1) x (columns + 1) lattice of points, normals and UVs as two triangles a cell.

    Triangles run anticlockwise for a viewer who sees columns to the right and rows upwards. Zero-area triangles
    (at poles) are dropped; points at the same place become one vertex if ``merge_seams``.
    """
    rows, columns = position.shape[0] - 1, position.shape[1] - 1
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    triangles = np.stack([a, b, c, a, c, d], 1).reshape(-1, 3)
    points = position.reshape(-1, 3)
    if merge_seams:
        _, first, inverse = np.unique(np.round(points, 7), axis=0, return_index=True, return_inverse=True)
        vertices, index = points[first], inverse.ravel()[triangles]
    else:
        vertices, index = points, triangles
    kept = (index[:, 0] != index[:, 1]) & (index[:, 1] != index[:, 2]) & (index[:, 2] != index[:, 0])
    index, triangles = index[kept], triangles[kept]
    return Shape(
        vertices.astype(np.float32),
        index.astype(np.int32),
        normal.reshape(-1, 3)[triangles].astype(np.float32),
        uv.reshape(-1, 2)[triangles].astype(np.float32),
    )


def _lattice(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(v, u) in 0..1, (rows + 1) x (columns + 1) each."""
    v, u = np.meshgrid(np.linspace(0.0, 1.0, rows + 1), np.linspace(0.0, 1.0, columns + 1), indexing="ij")
    return v, u


def plane(size: float = 2.0, cells: int = 1, margin: float = 0.0) -> Shape:
    """A square in the xz plane that faces -y (Blender's front); u to the right, v up."""
    v, u = _lattice(cells, cells)
    position = np.stack([(u - 0.5) * size, np.zeros_like(u), (v - 0.5) * size], -1)
    normal = np.broadcast_to([0.0, -1.0, 0.0], position.shape)
    return grid(position, normal, np.stack([u, v], -1) * (1.0 - 2.0 * margin) + margin)


def uv_sphere(radius: float = 1.0, rings: int = 64, segments: int = 128, margin: float = 0.01) -> Shape:
    """u runs round the z axis from +x, v from the south pole up; one chart with a seam at +x."""
    v, u = _lattice(rings, segments)
    polar, round_ = (v - 0.5) * np.pi, u * 2.0 * np.pi
    normal = np.stack([np.cos(polar) * np.cos(round_), np.cos(polar) * np.sin(round_), np.sin(polar)], -1)
    return grid(normal * radius, normal, np.stack([u, v], -1) * (1.0 - 2.0 * margin) + margin)


def torus(major: float = 1.0, minor: float = 0.35, rings: int = 48, segments: int = 96, margin: float = 0.01) -> Shape:
    """A torus round the z axis; u the long way, v the short way."""
    v, u = _lattice(rings, segments)
    tube, round_ = v * 2.0 * np.pi, u * 2.0 * np.pi
    normal = np.stack([np.cos(tube) * np.cos(round_), np.cos(tube) * np.sin(round_), np.sin(tube)], -1)
    centre = np.stack([np.cos(round_), np.sin(round_), np.zeros_like(u)], -1) * major
    return grid(centre + normal * minor, normal, np.stack([u, v], -1) * (1.0 - 2.0 * margin) + margin)


_CUBE_SIDES = (
    ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # normal, direction of u, direction of v
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
)


def cube(size: float = 2.0, cells: int = 1, margin: float = 0.02) -> Shape:
    """Six charts in a 3 x 2 atlas, one a side, with flat normals."""
    parts = []
    for side, (normal, along_u, along_v) in enumerate(_CUBE_SIDES):
        v, u = _lattice(cells, cells)
        n, du, dv = (np.array(axis) for axis in (normal, along_u, along_v))
        position = (n + (2.0 * u[..., None] - 1.0) * du + (2.0 * v[..., None] - 1.0) * dv) * (size / 2.0)
        inner = np.stack([u, v], -1) * (1.0 - 2.0 * margin) + margin
        uv = (inner + np.array((side % 3, side // 3))) / np.array((3.0, 2.0))
        parts.append(grid(position, np.broadcast_to(n, position.shape), uv))
    return merge(*parts)


def sculpt(rings: int = 224, segments: int = 224, depth: float = 0.12) -> Shape:
    """A sphere with dents and ridges like a rough sculpt; 224 x 224 makes about 100 000 triangles."""
    ball = uv_sphere(1.0, rings, segments)
    x, y, z = ball.vertices.astype(np.float64).T
    bumps = np.sin(5.0 * x + 2.0 * np.sin(4.0 * z)) * np.sin(6.0 * y) + 0.5 * np.sin(9.0 * z + 3.0 * x)
    vertices = ball.vertices * (1.0 + depth * bumps)[:, None]
    return smooth(vertices.astype(np.float32), ball.triangles, ball.uvs)


def links(count: int = 4, rings: int = 24, segments: int = 48) -> Shape:
    """A closed chain of interlocked rings, genus ``count`` and full of self-occlusion; each ring has its own chart."""
    side = int(np.ceil(np.sqrt(count)))
    parts = []
    for number in range(count):
        ring = torus(0.55, 0.14, rings, segments, margin=0.03)
        angle, tilt = 2.0 * np.pi * number / count, (number % 2) * np.pi / 2.0
        turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        about = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        along = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
        rotation = about @ along @ turn
        vertices = ring.vertices @ rotation.T + about @ np.array([0.62 / np.sin(np.pi / count) * 0.75, 0.0, 0.0])
        uvs = (ring.uvs + np.array((number % side, number // side))) / side
        parts.append(
            Shape(
                vertices.astype(np.float32),
                ring.triangles,
                (ring.normals @ rotation.T).astype(np.float32),
                uvs.astype(np.float32),
            )
        )
    return merge(*parts)


def thin_wall(thickness: float = 0.004, size: float = 2.0) -> Shape:
    """A closed box as thin as paper; its six sides have charts of their own."""
    box = cube(size, cells=4)
    vertices = box.vertices * np.array([1.0, thickness / size, 1.0], np.float32)
    return Shape(vertices, box.triangles, box.normals, box.uvs)


def smooth(vertices: FloatArray, triangles: NDArray[np.int32], uvs: FloatArray) -> Shape:
    """A mesh with normals averaged over the faces that meet at each vertex, by area."""
    corners = vertices.astype(np.float64)[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(sums, triangles[:, corner], face)
    normals = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-30)
    return Shape(vertices, triangles, normals[triangles].astype(np.float32), uvs)


def merge(*shapes: Shape) -> Shape:
    """Several shapes as one mesh, UVs as they are; vertices at the same place become one."""
    points = np.concatenate([shape.vertices for shape in shapes])
    offsets = np.cumsum([0, *(len(shape.vertices) for shape in shapes[:-1])])
    index = np.concatenate([shape.triangles + offset for shape, offset in zip(shapes, offsets, strict=True)])
    _, first, inverse = np.unique(np.round(points, 6), axis=0, return_index=True, return_inverse=True)
    return Shape(
        points[first],
        inverse.ravel()[index].astype(np.int32),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uvs for shape in shapes]),
    )
