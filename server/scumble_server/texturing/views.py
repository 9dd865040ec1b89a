"""Where to look from: cameras round an object, placed so that together they see as much of it as can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from torch import Tensor

from .mesh import Mesh
from .render import render_view
from .surface import SurfacePoints
from .visibility import ViewGeometry, look, view_geometry

__all__ = ["PlacedView", "automatic_views", "coverage", "place", "render_geometry", "surface_samples"]

FIELD_OF_VIEW = math.radians(40.0)
MARGIN = 1.06
"""The bounding sphere fills the frame but for 6 %."""

MIN_GAIN = 0.01
MIN_COSINE = 0.2
PATIENCE = 3
"""Promising directions that may disappoint in a row before the search for further views ends."""


@dataclass(frozen=True, slots=True)
class PlacedView:
    """A camera and where it stands. azimuth: degrees, 0 in front (-y), 90 at +x. elevation: degrees above the horizon.
    words: what a prompt may call this side of the object."""

    camera: Camera
    azimuth: float
    elevation: float
    words: str


_SIDES = (
    "front view",
    "three-quarter front view",
    "side view",
    "three-quarter back view",
    "back view",
    "three-quarter back view",
    "side view",
    "three-quarter front view",
)


def _words(azimuth: float, elevation: float) -> str:
    if abs(elevation) > 60.0:
        return "top view" if elevation > 0.0 else "bottom view"
    return _SIDES[round(azimuth / 45.0) % 8]


def place(
    meshes: Sequence[Mesh], azimuth: float, elevation: float, size: tuple[int, int] = (512, 512), *, ortho: bool = False
) -> PlacedView:
    """A camera that frames the meshes' bounding sphere from a direction. size: (width, height) of its pictures."""
    centre, radius = _bounds(meshes)
    around, up = math.radians(azimuth), math.radians(elevation)
    direction = torch.tensor(
        [math.sin(around) * math.cos(up), -math.cos(around) * math.cos(up), math.sin(up)], dtype=torch.float64
    )
    width, height = size
    aspect = width / height
    reach = radius * MARGIN
    half = FIELD_OF_VIEW / 2.0
    narrow = math.atan(math.tan(half) * min(1.0, aspect))
    distance = 3.0 * radius if ortho else reach / math.sin(narrow)
    near, far = distance - 1.05 * radius, distance + 1.05 * radius
    if ortho:
        shorter = 2.0 * reach / min(1.0, aspect)
        projection = orthographic(shorter * aspect, shorter, near, far)
    else:
        projection = perspective(FIELD_OF_VIEW, aspect, near, far)
    eye = centre + direction * distance
    view = look_at(
        (float(eye[0]), float(eye[1]), float(eye[2])), (float(centre[0]), float(centre[1]), float(centre[2]))
    )
    return PlacedView(
        Camera(view, projection, width, height, near, far), azimuth, elevation, _words(azimuth, elevation)
    )


def automatic_views(
    meshes: Sequence[Mesh],
    size: tuple[int, int] = (512, 512),
    *,
    count: int = 8,
    elevation: float = 30.0,
    most: int = 12,
    ortho: bool = False,
) -> tuple[list[PlacedView], float]:
    """``count`` views evenly round, elevation alternating up and down, then next-best views while one adds at least 1 %
    of the surface, up to ``most`` in all. Returns the views and the share of the surface area they see."""
    views = [place(meshes, 360.0 / count * j, elevation * (-1) ** j, size, ortho=ortho) for j in range(count)]
    samples = surface_samples(meshes)
    unseen = torch.ones(sum(len(points) for points, _ in samples), dtype=torch.bool, device=meshes[0].device)
    for view in views:
        unseen &= ~_sight(meshes, samples, view.camera)
    normals = torch.cat([points.normal for points, _ in samples], 1)
    directions = _directions().to(normals.device)
    poles, failures = 2, 0  # straight up and down, first in the list, are always tried
    while len(views) < most and (poles > 0 or failures < PATIENCE) and len(directions):
        # Occlusion apart, the direction that the unseen parts face most is the one to try next.
        scores = (directions @ normals[:, unseen]).clamp(min=0.0).sum(1)
        best = 0 if poles > 0 else int(scores.argmax())
        x, y, z = directions[best].tolist()
        directions = torch.cat([directions[:best], directions[best + 1 :]])
        azimuth, pitch = math.degrees(math.atan2(x, -y)) % 360.0, math.degrees(math.asin(max(-1.0, min(1.0, z))))
        view = place(meshes, azimuth, pitch, size, ortho=ortho)
        news = unseen & _sight(meshes, samples, view.camera)
        useful = float(news.float().mean()) >= MIN_GAIN
        failures = 0 if useful or poles > 0 else failures + 1
        poles -= 1
        if useful:
            unseen &= ~news
            views.append(view)
    return views, 1.0 - float(unseen.float().mean())


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


def _bounds(meshes: Sequence[Mesh]) -> tuple[Tensor, float]:
    """Centre (3,) and radius of a sphere that holds all vertices."""
    points = torch.cat([mesh.vertices for mesh in meshes])
    centre = (points.amin(0) + points.amax(0)) / 2.0
    return centre.cpu(), max(float((points - centre).norm(dim=1).amax()), 1e-9)


def _directions(count: int = 40) -> Tensor:
    """Unit vectors spread evenly over the sphere, straight up and down among them, float32 (count + 2, 3)."""
    rank = torch.arange(count, dtype=torch.float64)
    z = 1.0 - (2.0 * rank + 1.0) / count
    angle = rank * math.pi * (3.0 - math.sqrt(5.0))
    across = torch.sqrt(1.0 - z * z)
    spread = torch.stack([across * torch.cos(angle), across * torch.sin(angle), z], 1)
    return torch.cat([spread.new_tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), spread]).float()
