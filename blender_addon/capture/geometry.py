"""Evaluated Blender meshes as arrays: numpy in one pass per attribute, no Python loop over elements.

Shading normals follow Cycles: smooth faces take the corner normals (custom ones included), and a flat face of a
mesh without any smooth face takes the plane of each of its triangles, which matters where a quad isn't flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

__all__ = ["Surface", "corner_normals", "corner_uvs", "surface_of", "triangle_corners", "vertex_positions"]

WARP = 1e-5
"""How far a triangle's normal may be from its polygon's before the polygon counts as warped."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A triangle mesh ready for drawing: positions and normals V x 3 float32, indices T x 3 int32."""

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    indices: NDArray[np.int32]


def read(collection: bpy.types.bpy_prop_collection, attribute: str, width: int, dtype: type) -> NDArray:
    """One property of every element, (N, width); (N,) for width 1."""
    values = np.zeros(len(collection) * width, dtype)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width) if width > 1 else values


def vertex_positions(mesh: bpy.types.Mesh) -> NDArray[np.float32]:
    """(V, 3), object space."""
    return read(mesh.attributes["position"].data, "vector", 3, np.float32)


def triangle_corners(mesh: bpy.types.Mesh) -> NDArray[np.int32]:
    """(T, 3) indices of mesh corners ("loops"); Blender caches the triangulation."""
    mesh.calc_loop_triangles()
    return read(mesh.loop_triangles, "loops", 3, np.int32)


def corner_vertices(mesh: bpy.types.Mesh) -> NDArray[np.int32]:
    """(L,) vertex of each corner."""
    return read(mesh.attributes[".corner_vert"].data, "value", 1, np.int32)


def corner_normals(mesh: bpy.types.Mesh, corners: NDArray[np.int32]) -> NDArray[np.float32]:
    """(T, 3, 3) shading normal of each triangle corner, object space. corners: of :func:`triangle_corners`."""
    normals = read(mesh.corner_normals, "vector", 3, np.float32)[corners]
    if mesh.normals_domain == "FACE":
        points = vertex_positions(mesh)[corner_vertices(mesh)[corners]]
        normals = np.where(_warped(points, normals[:, 0])[:, None, None], _planes(points)[:, None, :], normals)
    return normals


def corner_uvs(mesh: bpy.types.Mesh, uv_map: str, corners: NDArray[np.int32]) -> NDArray[np.float32]:
    """(T, 3, 2) texture coordinates of each triangle corner, v up."""
    return read(mesh.uv_layers[uv_map].uv, "vector", 2, np.float32)[corners]


def surface_of(mesh: bpy.types.Mesh) -> Surface | None:
    """What to draw of a mesh, sharing as many vertices as its normals allow; None without a face."""
    corners = triangle_corners(mesh)
    if not len(corners):
        return None
    positions, vertex_of = vertex_positions(mesh), corner_vertices(mesh)
    domain = mesh.normals_domain
    if domain == "POINT":
        normals = read(mesh.vertex_normals, "vector", 3, np.float32)
        return Surface(positions, normals, vertex_of[corners])
    normals = read(mesh.corner_normals, "vector", 3, np.float32)
    positions = positions[vertex_of]
    if domain == "FACE" and len(positions) > 3 * len(mesh.polygons):
        positions, normals, corners = _split_warped(positions, normals, corners)
    return Surface(positions, normals, corners)


def _split_warped(
    positions: NDArray[np.float32], normals: NDArray[np.float32], corners: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Gives the triangles of warped flat polygons corners of their own, with the triangle's plane as normal."""
    points = positions[corners]
    warped = _warped(points, normals[corners[:, 0]])
    if not warped.any():
        return positions, normals, corners
    own = np.arange(3 * np.count_nonzero(warped), dtype=np.int32).reshape(-1, 3) + np.int32(len(positions))
    corners = corners.copy()
    corners[warped] = own
    planes = np.repeat(_planes(points[warped]), 3, axis=0)
    return np.concatenate([positions, points[warped].reshape(-1, 3)]), np.concatenate([normals, planes]), corners


def _warped(points: NDArray[np.float32], face_normals: NDArray[np.float32]) -> NDArray[np.bool_]:
    planes = _planes(points)
    return np.abs(planes - face_normals).max(axis=1) > WARP


def _planes(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit normals of triangles, (T, 3, 3) -> (T, 3); zero for a triangle without area."""
    first, second, third = points[:, 0], points[:, 1], points[:, 2]
    normals = np.cross(second - first, third - first)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0.0, length, 1.0)
