"""Sets a Blender camera up so that it looks through given matrices: the inverse of ``calc_matrix_camera``."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["look_through", "samples_per_pixel"]

_SMALLEST_RENDER = 4  # pixels; Blender renders no shorter side
_SENSOR = 100.0  # millimetres; Blender's largest, so that the widest lens stays above its shortest
_TOLERANCE = 1e-4


def samples_per_pixel(camera: Camera) -> int:
    """How many times larger, an odd number, a picture must be for Blender to render it; 1 but for tiny ones.

    The pixel in the middle of each such square has the pixel centre of the small picture.
    """
    enough = -(-_SMALLEST_RENDER // min(camera.width, camera.height))
    return enough + 1 - enough % 2


def look_through(scene: bpy.types.Scene, camera: Camera) -> None:
    """Gives ``scene``'s camera and render settings the view of ``camera``, :func:`samples_per_pixel` times larger.

    Raises UNSUPPORTED for a projection no Blender camera has (skewed, or with its rows mixed).
    """
    projection = camera.projection_matrix
    lens, render = scene.camera.data, scene.render
    factor = samples_per_pixel(camera)
    render.resolution_x, render.resolution_y = camera.width * factor, camera.height * factor
    squash = projection[0, 0] * camera.width / (projection[1, 1] * camera.height)
    render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1.0 / squash), max(1.0, squash)
    lens.sensor_fit, lens.sensor_width = "HORIZONTAL", _SENSOR
    lens.clip_start, lens.clip_end = camera.near, camera.far
    across = projection[0, 0] / projection[1, 1]
    if camera.is_orthographic:
        lens.type, lens.ortho_scale = "ORTHO", 2.0 / projection[0, 0]
        lens.shift_x, lens.shift_y = -projection[0, 3] / 2.0, -projection[1, 3] * across / 2.0
    else:
        lens.type, lens.lens = "PERSP", projection[0, 0] * _SENSOR / 2.0
        lens.shift_x, lens.shift_y = projection[0, 2] / 2.0, projection[1, 2] * across / 2.0
    scene.camera.matrix_world = Matrix(np.linalg.inv(camera.view_matrix).tolist())
    _check(scene, projection)


def _check(scene: bpy.types.Scene, projection: np.ndarray) -> None:
    render, layer = scene.render, scene.view_layers[0]
    layer.update()
    found = np.array(
        scene.camera.calc_matrix_camera(
            layer.depsgraph,
            x=render.resolution_x,
            y=render.resolution_y,
            scale_x=render.pixel_aspect_x,
            scale_y=render.pixel_aspect_y,
        )
    )
    if not np.allclose(found[[0, 1, 3]], projection[[0, 1, 3]], rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ScumbleError(
            ErrorCode.UNSUPPORTED, "Cycles has no camera with this projection; capture it on a GPU.", field="projection"
        )
