"""The surfaces to be textured, cut fine enough to show on them what each view sees.

Nothing in here knows Blender, so it runs on any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.placement import MIN_COSINE, Sphere, bounding_sphere

from ..capture import MeshArrays
from .sight import Floats, cosines_seen, nearest, never, small

__all__ = ["Facets", "Scanner", "cut", "drawn_corners"]

FINENESS = 24.0
"""Facets' sides per radius of the whole, at least."""

MOST_CUTS = 64
FACETS = 150_000
"""Facets that cutting may make; what comes with more keeps its own."""

BLENDED = 3
"""Views that are mixed on a facet while the texture forms."""


@dataclass(frozen=True, slots=True, eq=False)
class Facets:
    """Small triangles in world space, all meshes' in a row.

    corners: float64 (F, 3, 3). normals: float64 (F, 3), unit, outward, zero for a facet without area.
    areas: float64 (F,). mesh: which mesh, int32 (F,).
    """

    corners: Floats
    normals: Floats
    areas: Floats
    mesh: NDArray[np.int32]

    @property
    def centres(self) -> Floats:
        return self.corners.mean(1)


class Scanner:
    """Looks at meshes from cameras. check: called now and then; may raise to end the work."""

    def __init__(self, meshes: Sequence[MeshArrays], check: Callable[[], None] = never) -> None:
        self._check = check
        matrices = [np.array(mesh.matrix_world).reshape(4, 4) for mesh in meshes]
        worlds = [
            mesh.vertices.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
            for mesh, matrix in zip(meshes, matrices, strict=True)
        ]
        starts = np.cumsum([0, *(len(world) for world in worlds)])
        turned = [1.0 if np.linalg.det(matrix[:3, :3]) > 0.0 else -1.0 for matrix in matrices]
        counts = [len(mesh.triangles) for mesh in meshes]
        self._vertices = np.concatenate(worlds)
        self._triangles = np.concatenate(
            [mesh.triangles + np.int32(start) for mesh, start in zip(meshes, starts, strict=False)]
        )
        self._outward = np.repeat(turned, counts)
        self.sphere: Sphere = bounding_sphere(self._vertices)
        self.facets = cut(
            self._vertices[self._triangles],
            self._outward,
            np.repeat(np.arange(len(meshes), dtype=np.int32), counts),
            self.sphere.radius / FINENESS,
        )
        self._centres = self.facets.centres
        self._known: dict[Camera, NDArray[np.float32]] = {}

    def cosines(self, camera: Camera) -> NDArray[np.float32]:
        """Per facet, (F,): cosine to the viewer, 0 where the camera doesn't see it."""
        if camera not in self._known:
            self._check()
            seen = nearest(small(camera), self._vertices, self._triangles, self._outward, self._check)
            self._known[camera] = cosines_seen(seen, self._centres, self.facets.normals)
        return self._known[camera]

    def sees(self, camera: Camera) -> NDArray[np.bool_]:
        """Which facets count as seen, (F,)."""
        return self.cosines(camera) > MIN_COSINE

    def share(self, seen: NDArray[np.bool_]) -> float:
        """Part of the surface's area, 0 to 1."""
        return float(self.facets.areas[seen].sum() / max(float(self.facets.areas.sum()), 1e-300))


def cut(corners: Floats, outward: Floats, mesh: NDArray[np.int32], side: float) -> Facets:
    """Triangles (T, 3, 3) cut evenly until no side is longer than ``side``, within bounds."""
    edges = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
    wanted = np.clip(np.ceil(edges / max(side, 1e-300)), 1.0, MOST_CUTS)
    excess = float((wanted**2).sum()) / max(FACETS, len(corners))
    cuts = np.maximum(np.floor(wanted / max(1.0, excess**0.5)), 1.0).astype(np.intp)
    pieces, owners = [], []
    for count in np.unique(cuts):
        which = np.flatnonzero(cuts == count)
        shares = _shares(int(count))
        pieces.append(np.einsum("qcb,kbd->kqcd", shares, corners[which]).reshape(-1, 3, 3))
        owners.append(np.repeat(which, len(shares)))
    small_corners, owner = np.concatenate(pieces), np.concatenate(owners)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double = np.linalg.norm(across, axis=1)
    normals = across * (outward / np.where(double > 0.0, double, np.inf))[:, None]
    return Facets(small_corners, normals[owner], (double / 2.0 / cuts**2)[owner], mesh[owner])


def _shares(count: int) -> NDArray[np.float64]:
    """Barycentric corners of the count² pieces of a triangle, (count², 3, 3)."""
    row, column = (index.ravel() for index in np.indices((count, count)))
    upright = row + column < count
    overhead = row + column < count - 1
    corners = []
    for keep, moves in ((upright, ((0, 0), (1, 0), (0, 1))), (overhead, ((1, 0), (1, 1), (0, 1)))):
        u = np.stack([row[keep] + du for du, _ in moves], 1) / count
        v = np.stack([column[keep] + dv for _, dv in moves], 1) / count
        corners.append(np.stack([1.0 - u - v, u, v], 2))
    return np.concatenate(corners)


def drawn_corners(
    facets: Facets, cameras: Sequence[Camera], cosines: Sequence[NDArray[np.float32]], columns: int, rows: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where facets' corners lie in a sheet of all views' pictures, columns x rows of equal size, first row on top.

    Returns places (F * 3, 2 * BLENDED), left to right and bottom to top in 0..1, of the views that see the facet best;
    and their shares (F * 3, BLENDED), which sum to 1, or 0 where none sees it.
    """
    weights = np.stack(cosines, 1) ** 3
    weights[weights <= MIN_COSINE**3] = 0.0
    missing = BLENDED - weights.shape[1]
    if missing > 0:
        weights = np.concatenate([weights, np.zeros((len(weights), missing), np.float32)], 1)
    best = np.argpartition(weights, -BLENDED, axis=1)[:, -BLENDED:]
    shares = np.take_along_axis(weights, best, 1)
    shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
    places = np.zeros((len(weights), 3, BLENDED, 2), np.float32)
    for index, camera in enumerate(cameras):
        facet, rank = np.nonzero((best == index) & (shares > 0.0))
        pixels, _ = camera.project(facets.corners[facet])
        inside = np.clip(np.nan_to_num(pixels) / (camera.width, camera.height), 0.005, 0.995)
        column, row = index % columns, index // columns
        sheet = (inside + np.array([column, row])) / (columns, rows)
        places[facet, :, rank] = np.stack([sheet[..., 0], 1.0 - sheet[..., 1]], -1)
    return places.reshape(-1, 2 * BLENDED), np.repeat(shares.astype(np.float32), 3, 0)
