"""Where to look at an object from: cameras round it, placed so that together they see as much as can be seen.

Who sees what is the caller's to say (the server asks torch, the extension numpy); where cameras stand, how they frame
the object, what its sides are called and which further views are worth having is decided here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera import Camera, look_at, orthographic, perspective

__all__ = [
    "MIN_COSINE",
    "PlacedView",
    "Sphere",
    "bounding_sphere",
    "choose_views",
    "place",
    "sheet_columns",
    "side_of",
    "words_of",
]

FIELD_OF_VIEW = math.radians(40.0)
MARGIN = 1.06
"""The bounding sphere fills the frame but for 6 %."""

MIN_GAIN = 0.01
"""Share of the surface that a further view must add."""

MIN_COSINE = 0.2
"""Of the angle to the viewer; what is seen at a flatter angle doesn't count as seen."""

PATIENCE = 3
"""Promising directions that may disappoint in a row before the search for further views ends."""

Sight = Callable[[Camera], NDArray[np.bool_]]
"""Which of the N samples of the surface a camera sees, (N,)."""


@dataclass(frozen=True, slots=True)
class Sphere:
    """What is to be framed, in world space. radius: above 0."""

    centre: tuple[float, float, float]
    radius: float


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


def side_of(azimuth: float, elevation: float) -> str:
    """What a prompt may call the side that is seen from a direction, degrees."""
    if abs(elevation) > 60.0:
        return "top view" if elevation > 0.0 else "bottom view"
    return _SIDES[round(azimuth / 45.0) % 8]


def words_of(camera: Camera) -> str:
    """The same by the direction in which a camera looks: it may stand anywhere and show only a part."""
    return side_of(*_angles(-camera.forward))


def sheet_columns(count: int, width: int, height: int) -> int:
    """Columns of the sheet that previews of ``count`` views of one size make, filled row by row; about square."""
    columns = 1
    while columns * columns * width < count * height:
        columns += 1
    return columns


def bounding_sphere(points: NDArray[np.floating]) -> Sphere:
    """A sphere that holds all points (N, 3), about the middle of their box."""
    centre = (points.min(0).astype(np.float64) + points.max(0)) / 2.0
    radius = math.sqrt(float(((points - centre) ** 2).sum(1).max()))
    return Sphere((float(centre[0]), float(centre[1]), float(centre[2])), max(radius, 1e-9))


def place(
    sphere: Sphere, azimuth: float, elevation: float, size: tuple[int, int] = (512, 512), *, ortho: bool = False
) -> PlacedView:
    """A camera that frames the sphere from a direction. size: (width, height) of its pictures."""
    around, up = math.radians(azimuth), math.radians(elevation)
    direction = np.array([math.sin(around) * math.cos(up), -math.cos(around) * math.cos(up), math.sin(up)])
    width, height = size
    aspect = width / height
    radius = sphere.radius
    reach = radius * MARGIN
    narrow = math.atan(math.tan(FIELD_OF_VIEW / 2.0) * min(1.0, aspect))
    distance = 3.0 * radius if ortho else reach / math.sin(narrow)
    near, far = distance - 1.05 * radius, distance + 1.05 * radius
    if ortho:
        shorter = 2.0 * reach / min(1.0, aspect)
        projection = orthographic(shorter * aspect, shorter, near, far)
    else:
        projection = perspective(FIELD_OF_VIEW, aspect, near, far)
    x, y, z = (np.array(sphere.centre) + direction * distance).tolist()
    camera = Camera(look_at((x, y, z), sphere.centre), projection, width, height, near, far)
    return PlacedView(camera, azimuth, elevation, side_of(azimuth, elevation))


def choose_views(
    sphere: Sphere,
    normals: NDArray[np.floating],
    sight: Sight,
    size: tuple[int, int] = (512, 512),
    *,
    given: Sequence[Camera] = (),
    areas: NDArray[np.floating] | None = None,
    count: int = 8,
    elevation: float = 30.0,
    most: int = 12,
    ortho: bool = False,
) -> tuple[list[PlacedView], NDArray[np.bool_]]:
    """``count`` views evenly round, elevation alternating up and down, then next-best views while one adds at least 1 %
    of the surface, up to ``most`` in all; and which samples they and the given cameras see, (N,).

    normals: of the samples, (N, 3). areas: what each sample stands for, (N,); None for samples spread evenly.
    """
    share = np.ones(len(normals)) if areas is None else np.asarray(areas, np.float64)
    share = share / max(float(share.sum()), 1e-300)
    views = [place(sphere, 360.0 / count * j, elevation * (-1) ** j, size, ortho=ortho) for j in range(count)]
    unseen = np.ones(len(normals), bool)
    for camera in (*given, *(view.camera for view in views)):
        unseen &= ~sight(camera)
    directions = _directions()
    poles, failures = 2, 0  # straight up and down, first in the list, are always tried
    while len(views) < most and (poles > 0 or failures < PATIENCE) and len(directions):
        if float(share[unseen].sum()) < MIN_GAIN:
            break
        # Occlusion apart, the direction that the unseen parts face most is the one to try next.
        facing = np.maximum(normals[unseen] @ directions.T, 0.0)
        best = 0 if poles > 0 else int((share[unseen] @ facing).argmax())
        azimuth, pitch = _angles(directions[best])
        directions = np.delete(directions, best, 0)
        view = place(sphere, azimuth % 360.0, pitch, size, ortho=ortho)
        news = unseen & sight(view.camera)
        useful = float(share[news].sum()) >= MIN_GAIN
        failures = 0 if useful or poles > 0 else failures + 1
        poles -= 1
        if useful:
            unseen &= ~news
            views.append(view)
    return views, ~unseen


def _angles(direction: NDArray[np.floating]) -> tuple[float, float]:
    """Azimuth and elevation, degrees, of a unit vector towards the viewer."""
    x, y, z = (float(part) for part in direction)
    return math.degrees(math.atan2(x, -y)), math.degrees(math.asin(max(-1.0, min(1.0, z))))


def _directions(count: int = 40) -> NDArray[np.float64]:
    """Unit vectors spread evenly over the sphere after straight up and down, (count + 2, 3)."""
    rank = np.arange(count)
    z = 1.0 - (2.0 * rank + 1.0) / count
    angle = rank * math.pi * (3.0 - math.sqrt(5.0))
    across = np.sqrt(1.0 - z * z)
    spread = np.stack([across * np.cos(angle), across * np.sin(angle), z], 1)
    return np.concatenate([np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), spread])
