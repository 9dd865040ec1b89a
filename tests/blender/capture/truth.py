"""What a picture must be: rays through pixel centres, against planes, spheres and exact meshes."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from scumble_shared.camera import Camera


def rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World-space origins at depth 0 and directions per unit of depth, each (H, W, 3)."""
    centres = camera.pixel_centres()
    size = centres.shape[:2]
    if camera.is_orthographic:
        start = camera.unproject(centres, np.zeros(size))
        return start, camera.unproject(centres, np.ones(size)) - start
    start = np.broadcast_to(camera.position, (*size, 3))
    return start, camera.unproject(centres, np.ones(size)) - start


def plane_depth(camera: Camera, point, normal) -> np.ndarray:
    """Depth of an infinite plane, (H, W); inf where it is behind or never met."""
    start, direction = rays(camera)
    slope = direction @ np.asarray(normal, float)
    with np.errstate(divide="ignore"):
        depth = ((np.asarray(point, float) - start) @ np.asarray(normal, float)) / slope
    return np.where(depth > 0.0, depth, np.inf)


def sphere(camera: Camera, centre, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (inf where missed) and world normal (zero where missed) of a sphere in front of the camera."""
    start, direction = rays(camera)
    offset = start - np.asarray(centre, float)
    a, b = (direction**2).sum(-1), (direction * offset).sum(-1)
    inside = b * b - a * ((offset**2).sum(-1) - radius**2)
    depth = np.where(inside > 0.0, (-b - np.sqrt(np.maximum(inside, 0.0))) / a, np.inf)
    hit = np.isfinite(depth)
    normal = (offset + np.where(hit, depth, 0.0)[..., None] * direction) / radius
    return depth, np.where(hit[..., None], normal, 0.0)


@dataclass(frozen=True)
class Exact:
    """depth: inf where missed. facet: unit normals of the triangles hit, world space, towards the viewer."""

    depth: np.ndarray
    facet: np.ndarray
    name: np.ndarray


def ray_cast(camera: Camera, things: list[bpy.types.Object], depsgraph: bpy.types.Depsgraph) -> Exact:
    """Every ray against every triangle of the evaluated objects (their own meshes, not what they instance)."""
    points, triangles, owners = [], [], []
    for thing in things:
        evaluated = thing.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh()
        mesh.calc_loop_triangles()
        first = len(points)
        points += [evaluated.matrix_world @ vertex.co for vertex in mesh.vertices]
        triangles += [tuple(first + v for v in triangle.vertices) for triangle in mesh.loop_triangles]
        owners += [thing.name] * len(mesh.loop_triangles)
        evaluated.to_mesh_clear()
    tree = BVHTree.FromPolygons(points, triangles, all_triangles=True)
    start, direction = rays(camera)
    depth = np.full((camera.height, camera.width), np.inf)
    facet = np.zeros((camera.height, camera.width, 3))
    name = np.full((camera.height, camera.width), "", dtype=object)
    for pixel in np.ndindex(depth.shape):
        along = Vector(direction[pixel])
        begin = Vector(start[pixel]) + along * camera.near
        _, normal, index, distance = tree.ray_cast(begin, along)
        if index is None:
            continue
        found = camera.near + distance / along.length
        if found <= camera.far:
            depth[pixel], name[pixel] = found, owners[index]
            facet[pixel] = normal if normal.dot(along) < 0.0 else -normal
    return Exact(depth, facet, name)


def to_world(camera: Camera, normal: np.ndarray) -> np.ndarray:
    """View-space normals (H, W, 3) in world space, float64."""
    return normal.astype(np.float64) @ camera.view_matrix[:3, :3]


def angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors (..., 3), exact for small angles too."""
    half = np.linalg.norm(first - second, axis=-1) / 2.0
    return np.degrees(2.0 * np.arcsin(np.minimum(half, 1.0)))


def inner(mask: np.ndarray, margin: int = 2) -> np.ndarray:
    """The pixels of a mask whose neighbours up to ``margin`` away are in it too: away from edges."""
    kept = mask.copy()
    padded = np.pad(mask, margin, constant_values=True)
    for y in range(2 * margin + 1):
        for x in range(2 * margin + 1):
            kept &= padded[y : y + mask.shape[0], x : x + mask.shape[1]]
    return kept


def continuous(depth: np.ndarray) -> np.ndarray:
    """Hit pixels whose neighbours are hit at nearly the same depth: away from silhouettes."""
    kept = inner(np.isfinite(depth), 1)
    filled = np.where(np.isfinite(depth), depth, 1e9)
    for axis in (0, 1):
        for step in (1, -1):
            kept &= np.abs(np.roll(filled, step, axis) / filled - 1.0) < 0.05
    return kept


def depth_allowance(expected: np.ndarray) -> np.ndarray:
    """1e-4 of the depth, and what 1/100 pixel makes of its slope: Cycles' narrowest filter misses centres by that."""
    with np.errstate(invalid="ignore"):
        slopes = [np.abs(slope) for slope in np.gradient(expected)] if min(expected.shape) > 1 else []
    return 1e-4 * expected + sum(0.01 * np.nan_to_num(slope, posinf=0.0) for slope in slopes)


def smooth_regions(depth: np.ndarray, facet: np.ndarray) -> np.ndarray:
    """Hit pixels whose neighbours lie on the same facet: where a picture has no edge of any kind."""
    kept = inner(np.isfinite(depth), 1)
    for axis in (0, 1):
        for step in (1, -1):
            same = np.abs(np.roll(facet, step, axis) - facet).max(-1) < 1e-4
            kept &= same
    return kept
