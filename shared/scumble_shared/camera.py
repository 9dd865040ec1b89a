"""The camera convention, in one place, for every producer and consumer of geometry.

Spaces: *world* is Blender's (right-handed, z up); *view* is OpenGL's (x right, y up, looking along -z);
*NDC* is OpenGL's cube [-1, 1]^3, y up; *pixel* has its origin in the top-left corner of the top-left
pixel, x right and y DOWN, so pixel centres lie at +0.5. *Depth* is planar: ``-z_view``, in scene units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "Matrix4", "look_at", "normals_of", "orthographic", "pack_matrix", "perspective"]

Matrix4 = tuple[
    float, float, float, float, float, float, float, float, float, float, float, float, float, float, float, float
]
"""A 4x4 matrix, row-major; points are column vectors: ``p' = M @ p``."""

FloatArray = NDArray[np.float64]


def pack_matrix(matrix: NDArray[np.floating] | list[list[float]]) -> Matrix4:
    """A (4, 4) array or nested list (mathutils.Matrix too) as the tuple that travels in a job."""
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (4, 4):
        raise ValueError(f"expected a 4x4 matrix, got shape {values.shape}")
    return tuple(float(value) for value in values.ravel())  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Camera:
    """What was looked through: the exact matrices, not lens settings to be re-interpreted.

    view: world -> view, rigid. projection: view -> clip, OpenGL convention, perspective or orthographic,
    shift and sensor fit included. width, height: of the buffers, pixels. near, far: clip distances, scene units.
    """

    view: Matrix4
    projection: Matrix4
    width: int
    height: int
    near: float
    far: float

    @property
    def view_matrix(self) -> FloatArray:
        """World -> view, (4, 4)."""
        return np.array(self.view, dtype=np.float64).reshape(4, 4)

    @property
    def projection_matrix(self) -> FloatArray:
        """View -> clip, (4, 4)."""
        return np.array(self.projection, dtype=np.float64).reshape(4, 4)

    @property
    def is_orthographic(self) -> bool:
        return self.projection[15] == 1.0

    @property
    def position(self) -> FloatArray:
        """Eye in world space, (3,). For an orthographic camera: the origin of its view space."""
        view = self.view_matrix
        return np.asarray(-view[:3, :3].T @ view[:3, 3])

    @property
    def forward(self) -> FloatArray:
        """Unit viewing direction in world space, (3,)."""
        return np.asarray(-self.view_matrix[2, :3])

    def project(self, points: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
        """World points (..., 3) -> pixel positions (..., 2) and depths (...).

        Points at depth <= 0 under a perspective camera have no image; their pixels are NaN.
        """
        points = np.asarray(points, dtype=np.float64)
        view = points @ self.view_matrix[:3, :3].T + self.view_matrix[:3, 3]
        clip = view @ self.projection_matrix[:, :3].T + self.projection_matrix[:, 3]
        w = np.where(clip[..., 3:] > 0.0, clip[..., 3:], np.nan)
        ndc = clip[..., :2] / w
        pixels = (ndc * (0.5, -0.5) + 0.5) * (self.width, self.height)
        return pixels, -view[..., 2]

    def unproject(self, pixels: NDArray[np.floating], depth: NDArray[np.floating]) -> FloatArray:
        """Pixel positions (..., 2) at planar depths (...) -> world points (..., 3). Inverse of :meth:`project`."""
        depth = np.asarray(depth, dtype=np.float64)
        ndc = (np.asarray(pixels, dtype=np.float64) / (self.width, self.height) - 0.5) * (2.0, -2.0)
        p = self.projection_matrix
        w = np.ones_like(depth) if self.is_orthographic else depth
        x = (ndc[..., 0] * w - p[0, 3] + p[0, 2] * depth) / p[0, 0]
        y = (ndc[..., 1] * w - p[1, 3] + p[1, 2] * depth) / p[1, 1]
        view = np.stack([x, y, -depth], axis=-1)
        return np.asarray((view - self.view_matrix[:3, 3]) @ self.view_matrix[:3, :3])

    def pixel_centres(self) -> FloatArray:
        """(height, width, 2) pixel positions of all pixel centres, top row first."""
        y, x = np.meshgrid(np.arange(self.height) + 0.5, np.arange(self.width) + 0.5, indexing="ij")
        return np.stack([x, y], axis=-1)


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> Matrix4:
    """World -> view of a camera at ``eye`` looking at ``target`` with world z up (y up when looking along z)."""
    origin = np.array(eye, dtype=np.float64)
    forward = np.array(target, dtype=np.float64) - origin
    forward /= np.linalg.norm(forward)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(right, forward), -forward])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = -rotation @ origin
    return pack_matrix(matrix)


def normals_of(buffer: NDArray[Any]) -> NDArray[np.floating]:
    """A view's buffer of normals, H x W x 3, as floats. uint8: 128 + 127 times a normal, all 0 where nothing is."""
    if buffer.dtype != np.uint8:
        return buffer
    normals = (buffer.astype(np.float32) - np.float32(128.0)) / np.float32(127.0)
    normals[buffer[..., 0] == 0] = 0.0
    return normals


def perspective(field_of_view: float, aspect: float, near: float, far: float) -> Matrix4:
    """OpenGL perspective projection. field_of_view: vertical, radians; aspect: width / height."""
    f = 1.0 / math.tan(field_of_view / 2.0)
    a, b = (far + near) / (near - far), 2.0 * far * near / (near - far)
    return (f / aspect, 0.0, 0.0, 0.0, 0.0, f, 0.0, 0.0, 0.0, 0.0, a, b, 0.0, 0.0, -1.0, 0.0)


def orthographic(width: float, height: float, near: float, far: float) -> Matrix4:
    """OpenGL orthographic projection of a centred window, scene units."""
    a, b = 2.0 / (near - far), (far + near) / (near - far)
    return (2.0 / width, 0.0, 0.0, 0.0, 0.0, 2.0 / height, 0.0, 0.0, 0.0, 0.0, a, b, 0.0, 0.0, 0.0, 1.0)
