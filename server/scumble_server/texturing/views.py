"""Where to look from, by :mod:`scumble_shared.placement`, and what is seen from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scumble_shared import placement
from scumble_shared.camera import Camera
from scumble_shared.placement import MIN_COSINE, PlacedView, Sphere
from torch import Tensor

from .lookup import look
from .mesh import Mesh
from .render import render_view
from .surface import SurfacePoints
from .visibility import ViewGeometry, view_geometry

__all__ = ["PlacedView", "automatic_views", "coverage", "further_views", "place", "render_geometry", "surface_samples"]


def place(
    meshes: Sequence[Mesh], azimuth: float, elevation: float, size: tuple[int, int] = (512, 512), *, ortho: bool = False
) -> PlacedView:
    """A camera that frames the meshes' bounding sphere from a direction. size: (width, height) of its pictures."""
    return placement.place(_sphere(meshes), azimuth, elevation, size, ortho=ortho)


def automatic_views(
    meshes: Sequence[Mesh], size: tuple[int, int] = (512, 512), *, ortho: bool = False
) -> tuple[list[PlacedView], float]:
    """Views as :func:`scumble_shared.placement.choose_views` has them, and the share of the surface area they see."""
    samples = surface_samples(meshes)
    normals = torch.cat([points.normal for points, _ in samples], 1).T.cpu().numpy()

    def sight(camera: Camera) -> NDArray[np.bool_]:
        seen: NDArray[np.bool_] = _sight(meshes, samples, camera).cpu().numpy()
        return seen

    views, seen = placement.choose_views(_sphere(meshes), normals, sight, size, ortho=ortho)
    return views, float(seen.mean())


def further_views(
    meshes: Sequence[Mesh], cameras: Sequence[Camera], most: int, size: tuple[int, int], *, ortho: bool = False
) -> tuple[list[PlacedView], float]:
    """Up to ``most`` views of what the given cameras leave unseen, while each adds at least 1 % of the surface; and the
    share of it that all of them see."""
    samples = surface_samples(meshes)
    normals = torch.cat([points.normal for points, _ in samples], 1).T.cpu().numpy()

    def sight(camera: Camera) -> NDArray[np.bool_]:
        seen: NDArray[np.bool_] = _sight(meshes, samples, camera).cpu().numpy()
        return seen

    views, seen = placement.choose_views(
        _sphere(meshes), normals, sight, size, given=cameras, count=0, most=most, ortho=ortho
    )
    return views, float(seen.mean())


def coverage(meshes: Sequence[Mesh], cameras: Sequence[Camera], min_cosine: float = MIN_COSINE) -> float:
    """Share of the meshes' surface area that at least one camera sees at better than ``min_cosine``."""
    samples = surface_samples(meshes)
    seen = torch.zeros(sum(len(points) for points, _ in samples), dtype=torch.bool, device=meshes[0].device)
    for camera in cameras:
        seen |= _sight(meshes, samples, camera, min_cosine)
    return float(seen.float().mean())


def render_geometry(
    meshes: Sequence[Mesh],
    camera: Camera,
    *,
    image_size: tuple[int, int] | None = None,
    margin: int = 1,
    feather: int = 3,
) -> ViewGeometry:
    """A view as the meshes alone make it: for cameras that no Blender rendered."""
    visible = render_view(meshes, camera)
    ids = torch.tensor([0, *(mesh.object_id for mesh in meshes)], dtype=torch.int32, device=visible.depth.device)
    return view_geometry(
        camera,
        visible.depth,
        object_id=ids[visible.mesh + 1],
        facing=visible.facing(),
        image_size=image_size,
        margin=margin,
        feather=feather,
    )


def surface_samples(meshes: Sequence[Mesh], count: int = 16384) -> list[tuple[SurfacePoints, Tensor]]:
    """About ``count`` points spread evenly over the meshes' area, the same ones every time; with each mesh's origin."""
    areas = [_areas(mesh) for mesh in meshes]
    total = sum(float(area.sum()) for area in areas)
    return [
        _spread(mesh, area, max(64, round(count * float(area.sum()) / max(total, 1e-300))))
        for mesh, area in zip(meshes, areas, strict=True)
    ]


def _spread(mesh: Mesh, areas: Tensor, count: int) -> tuple[SurfacePoints, Tensor]:
    rank = torch.arange(count, dtype=torch.float64, device=mesh.device)
    total = torch.cumsum(areas, 0)
    triangle = torch.searchsorted(total, (rank + 0.5) / count * total[-1]).clamp_(max=len(areas) - 1)
    # The R2 sequence fills the unit square evenly; folded, it fills the triangle.
    u, v = (rank * 0.7548776662466927) % 1.0, (rank * 0.5698402909980532) % 1.0
    over = u + v > 1.0
    u, v = torch.where(over, 1.0 - u, u)[:, None], torch.where(over, 1.0 - v, v)[:, None]
    origin = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2.0
    a, b, c = (mesh.vertices[mesh.triangles[triangle]] - origin).unbind(1)
    position = a + (b - a) * u + (c - a) * v
    face = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1) * mesh.outward
    n = mesh.normals[triangle].double()
    normal = torch.nn.functional.normalize(n[:, 0] * (1.0 - u - v) + n[:, 1] * u + n[:, 2] * v, dim=1)
    return SurfacePoints(position.T.float(), normal.T.float(), face.T.float(), mesh.object_id), origin


def _areas(mesh: Mesh) -> Tensor:
    a, b, c = mesh.vertices[mesh.triangles].unbind(1)
    areas: Tensor = torch.linalg.cross(b - a, c - a).norm(dim=1) / 2.0
    return areas


def _sight(
    meshes: Sequence[Mesh],
    samples: Sequence[tuple[SurfacePoints, Tensor]],
    camera: Camera,
    min_cosine: float = MIN_COSINE,
) -> Tensor:
    """bool: which samples, those of all meshes in a row, the camera sees. Judged in a picture of 256 pixels."""
    shrink = min(1.0, 256.0 / max(camera.width, camera.height))
    small = replace(camera, width=max(1, round(camera.width * shrink)), height=max(1, round(camera.height * shrink)))
    geometry = render_geometry(meshes, small)
    masks = []
    for points, origin in samples:
        mask = torch.zeros(len(points), dtype=torch.bool, device=origin.device)
        mask[look(geometry, points, origin, min_cosine).index] = True
        masks.append(mask)
    return torch.cat(masks)


def _sphere(meshes: Sequence[Mesh]) -> Sphere:
    """Holds all vertices."""
    return placement.bounding_sphere(torch.cat([mesh.vertices for mesh in meshes]).cpu().numpy())
