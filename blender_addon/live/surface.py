"""The picture on the surfaces themselves: drawn with the meshes' own triangles, as the view it was made from saw them.

What that view didn't see (hidden behind something, turned away, outside) isn't painted. An object that has
moved since takes its paint with it. Nothing of the scene is touched: our shader, the capture's batches, no datablocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import gpu
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera, Matrix4

from ..apply.overlay import Look, make_texture
from ..capture import DrawnSurface
from .surface_shader import INSTANCE_ROWS, INSTANCES_PER_BLOCK, LOOK_ROWS, surface_shader

__all__ = ["SurfacePaint", "View"]

Pose = Callable[[DrawnSurface], Matrix4 | None]
"""Where a surface stands now, object -> world; None for one that isn't to be seen."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is being drawn. perspective: world -> clip, 4 x 4. eye: x, y, z, 1 of the viewer, or, without perspective,
    the unit direction towards them and 0. width: of the region, pixels."""

    perspective: NDArray[np.float64]
    eye: tuple[float, float, float, float]
    width: int


class SurfacePaint:
    """One picture, with the geometry it was made from. The textures are made when it is first drawn.

    pixels: float32 H x W x 4, bottom row first. depth: float32 h x w, planar, top row first, of ``camera``.
    """

    def __init__(
        self,
        camera: Camera,
        pixels: NDArray[np.float32],
        depth: NDArray[np.float32],
        surfaces: Sequence[DrawnSurface],
    ) -> None:
        self._camera = camera
        self._pixels = pixels
        self._depth = depth
        self._surfaces = tuple(surfaces)
        self._picture_texture: gpu.types.GPUTexture | None = None
        self._depth_texture: gpu.types.GPUTexture | None = None

    def replace(self, pixels: NDArray[np.float32]) -> None:
        """A newer picture of the same view."""
        self._pixels = pixels
        self._picture_texture = None

    def draw(self, view: View, look: Look, pose: Pose) -> None:
        """Into the bound framebuffer, whose depth hides what is behind other things."""
        poses = [(surface, pose(surface)) for surface in self._surfaces]
        shown = [(surface, matrix) for surface, matrix in poses if matrix is not None]
        if not shown or look.opacity <= 0.0 or look.wipe <= 0.0:
            return
        self._upload()
        shader = surface_shader()
        shader.bind()
        shader.uniform_sampler("picture", self._picture_texture)
        shader.uniform_sampler("depth", self._depth_texture)
        shader.uniform_float("perspective", Matrix(view.perspective.tolist()))
        gpu.state.depth_test_set("LESS_EQUAL")
        gpu.state.depth_mask_set(True)
        gpu.state.blend_set("ALPHA")
        try:
            self._draw_blocks(shader, shown, self._look_rows(view, look))
        finally:
            gpu.state.blend_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.depth_test_set("NONE")

    def _upload(self) -> None:
        if self._picture_texture is None:
            self._picture_texture = make_texture(self._pixels)
        if self._depth_texture is None:
            height, width = self._depth.shape
            flat = np.ascontiguousarray(self._depth[::-1], np.float32).reshape(-1)
            data = gpu.types.Buffer("FLOAT", flat.size, flat)
            self._depth_texture = gpu.types.GPUTexture((width, height), format="R32F", data=data)

    def _look_rows(self, view: View, look: Look) -> NDArray[np.float32]:
        """What the shader's block holds after the instances."""
        rows = np.zeros((LOOK_ROWS, 4), np.float32)
        projection = self._camera.projection_matrix
        rows[0:4] = projection
        rows[4] = view.eye
        # Pixels of the capture per scene unit, at depth 1 with perspective and at any depth without.
        pixels_per_unit = 0.5 * self._camera.width * abs(projection[0, 0])
        rows[5] = look.opacity, look.wipe * view.width, 1.0 / pixels_per_unit, float(projection[3, 3] == 0.0)
        return rows

    def _draw_blocks(
        self,
        shader: gpu.types.GPUShader,
        shown: list[tuple[DrawnSurface, Matrix4]],
        look_rows: NDArray[np.float32],
    ) -> None:
        to_view = self._camera.view_matrix
        for start in range(0, len(shown), INSTANCES_PER_BLOCK):
            part = shown[start : start + INSTANCES_PER_BLOCK]
            rows = np.zeros((INSTANCES_PER_BLOCK * INSTANCE_ROWS + LOOK_ROWS, 4), np.float32)
            instances = rows[: len(part) * INSTANCE_ROWS].reshape(len(part), INSTANCE_ROWS, 4)
            worlds = np.array([matrix for _, matrix in part], np.float64).reshape(-1, 4, 4)
            captured = np.array([surface.entry.matrix_world for surface, _ in part], np.float64).reshape(-1, 4, 4)
            instances[:, 0:3] = worlds[:, :3]
            instances[:, 3:6] = (to_view @ captured)[:, :3]
            rows[INSTANCES_PER_BLOCK * INSTANCE_ROWS :] = look_rows
            block = gpu.types.GPUUniformBuf(gpu.types.Buffer("FLOAT", rows.size, rows.reshape(-1)))
            shader.uniform_block("paint", block)
            first = 0
            for _, group in groupby(part, key=lambda entry: id(entry[0].batch)):
                same = list(group)
                shader.uniform_int("first", [first])
                same[0][0].batch.draw_instanced(shader, instance_start=0, instance_count=len(same))
                first += len(same)
