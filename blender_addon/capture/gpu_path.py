"""Capture on the GPU: cached batches drawn once into float targets and read back without a copy."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import bpy
import gpu
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera

from .frame import ObjectEntry
from .geometry import surface_of
from .gpu_shader import INSTANCE_ROWS, INSTANCES_PER_BLOCK, geometry_shader, vertex_format
from .scene_walk import HOLDOUT_ID, Evaluated, ShownSurface, walk

__all__ = ["DrawnSurface", "GpuPath", "RawGeometry"]

SCENES_KEPT = 4
TARGETS_KEPT = 6

EMPTY = (int(np.float32(np.inf).view(np.uint32)), 0, 0)
"""What the shader's targets hold where nothing is hit."""

MOST_IN_BYTES = 254
"""Surfaces that ids of one byte can tell apart, but for holdouts."""


@dataclass(frozen=True, slots=True, eq=False)
class RawGeometry:
    """Top row first. normal: float16 or uint8 H x W x 3, as a View has them; depth: float32 H x W; object_id: uint16
    H x W, holdouts included."""

    depth: NDArray[np.float32]
    normal: NDArray[np.float16] | NDArray[np.uint8]
    object_id: NDArray[np.uint16]
    shown: list[ShownSurface]


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSurface:
    """A surface that was captured, to be drawn once more. batch: object space ``position`` and ``normal``."""

    batch: gpu.types.GPUBatch
    entry: ObjectEntry


class GpuPath:
    """Owns the shader, the batches of the scenes seen last, and the targets of the sizes used last."""

    def __init__(self) -> None:
        self._shaders: dict[bool, gpu.types.GPUShader] = {}  # by whether they draw in bytes
        self._scenes: OrderedDict[tuple[int, str], dict[int, gpu.types.GPUBatch | None]] = OrderedDict()
        self._targets: OrderedDict[tuple[int, int, bool], _Target] = OrderedDict()
        self.batches_built = 0
        self.latest: tuple[DrawnSurface, ...] = ()  # of the latest capture, surfaces of one mesh in a row

    def free(self) -> None:
        """Lets go of everything on the GPU; the next capture builds anew."""
        self._shaders.clear()
        self._scenes.clear()
        self._targets.clear()
        self.batches_built = 0
        self.latest = ()

    def capture(
        self,
        sources: Sequence[Evaluated],
        camera: Camera,
        holdout: Callable[[bpy.types.Object], bool],
        *,
        precise: bool = True,
    ) -> RawGeometry:
        """Draws everything visible. The buffers are fresh arrays. precise: otherwise normals may be uint8."""
        shown, batches = self._batches(sources, holdout)
        in_bytes = not precise and len(shown) <= MOST_IN_BYTES
        if in_bytes not in self._shaders:
            self._shaders[in_bytes] = geometry_shader(in_bytes=in_bytes)
        drawn = sorted(shown, key=lambda surface: surface.mesh_uid)
        target = self._target(camera.width, camera.height, in_bytes)
        framebuffer = target.framebuffer()
        with _plain_state(), framebuffer.bind():
            target.clear(framebuffer)
            blocks = self._draw(self._shaders[in_bytes], drawn, batches, camera)
            target.read(framebuffer)
            blocks.clear()
        self.latest = tuple(DrawnSurface(batches[surface.mesh_uid], surface.entry) for surface in drawn)
        return target.unpack(shown)

    def _batches(
        self, sources: Sequence[Evaluated], holdout: Callable[[bpy.types.Object], bool]
    ) -> tuple[list[ShownSurface], dict[int, gpu.types.GPUBatch | None]]:
        """Walks the scene and builds what is new in it; batches no longer shown are let go."""
        depsgraph = sources[0].depsgraph
        key = (depsgraph.scene.session_uid, depsgraph.view_layer.name)
        known = self._scenes.pop(key, {})
        batches: dict[int, gpu.types.GPUBatch | None] = {}

        def visit(mesh_uid: int, thing: bpy.types.Object) -> bool:
            if mesh_uid not in known or thing.mode == "SCULPT":
                batches[mesh_uid] = _build(thing)
                self.batches_built += batches[mesh_uid] is not None
            else:
                batches[mesh_uid] = known[mesh_uid]
            return batches[mesh_uid] is not None

        shown = walk(sources, holdout, visit)
        self._scenes[key] = batches
        while len(self._scenes) > SCENES_KEPT:
            self._scenes.popitem(last=False)
        return shown, batches

    def _target(self, width: int, height: int, in_bytes: bool) -> _Target:
        key = width, height, in_bytes
        target = self._targets.pop(key, None) or _Target(*key)
        self._targets[key] = target
        while len(self._targets) > TARGETS_KEPT:
            self._targets.popitem(last=False)
        return target

    def _draw(
        self,
        shader: gpu.types.GPUShader,
        drawn: list[ShownSurface],
        batches: dict[int, gpu.types.GPUBatch | None],
        camera: Camera,
    ) -> list[gpu.types.GPUUniformBuf]:
        """Issues the draw calls. The blocks handed back must live until the pixels are read."""
        if not drawn:
            return []
        rows = _instance_rows(drawn, camera)
        bound: list[gpu.types.GPUUniformBuf] = []
        shader.bind()
        shader.uniform_float("projection", Matrix(camera.projection_matrix.tolist()))
        for start in range(0, len(drawn), INSTANCES_PER_BLOCK):
            block = rows[start : start + INSTANCES_PER_BLOCK]
            bound.append(gpu.types.GPUUniformBuf(gpu.types.Buffer("FLOAT", block.size, block)))
            shader.uniform_block("instances", bound[-1])
            first = 0
            in_block = drawn[start : start + INSTANCES_PER_BLOCK]
            for mesh_uid, group in groupby(in_block, key=lambda surface: surface.mesh_uid):
                count = len(list(group))
                shader.uniform_int("first", [first])
                batches[mesh_uid].draw_instanced(shader, instance_start=0, instance_count=count)
                first += count
        return bound


class _Target:
    """Textures of one size to draw into, and the memory they are read into."""

    def __init__(self, width: int, height: int, in_bytes: bool) -> None:
        self._size = (width, height)
        self._in_bytes = in_bytes
        self._empty = EMPTY[: 2 if in_bytes else 3]
        self._colors = [gpu.types.GPUTexture(self._size, format="R32UI") for _ in self._empty]
        self._z = gpu.types.GPUTexture(self._size, format="DEPTH_COMPONENT32F")
        self._pixels = [np.zeros((height, width), np.uint32) for _ in self._empty]

    def framebuffer(self) -> gpu.types.GPUFrameBuffer:
        """Made anew each time: it belongs to the window that Blender draws in now, unlike all else on the GPU."""
        return gpu.types.GPUFrameBuffer(depth_slot=self._z, color_slots=self._colors)

    def clear(self, framebuffer: gpu.types.GPUFrameBuffer) -> None:
        for color, value in zip(self._colors, self._empty, strict=True):
            color.clear(format="UINT", value=(value,))
        framebuffer.clear(depth=1.0)

    def read(self, framebuffer: gpu.types.GPUFrameBuffer) -> None:
        for slot, pixels in enumerate(self._pixels):
            into = gpu.types.Buffer("UINT", pixels.shape, pixels)
            framebuffer.read_color(0, 0, *self._size, 1, slot, "UINT", data=into)

    def unpack(self, shown: list[ShownSurface]) -> RawGeometry:
        """Blender's rows start at the bottom; they are turned here, once."""
        depth = np.ascontiguousarray(self._pixels[0][::-1]).view(np.float32)
        rows = [_parts(pixels[::-1], np.uint8 if self._in_bytes else np.uint16) for pixels in self._pixels[1:]]
        *normals, ids = [part for parts in rows for part in parts]
        normal = np.zeros((*depth.shape, 3), normals[0].dtype)
        # One channel after the other: numpy is slow over rows of two or three.
        for channel, part in enumerate(normals):
            normal[..., channel] = part
        object_id = np.array(ids, np.uint16, order="C")
        if self._in_bytes:
            object_id[object_id > MOST_IN_BYTES] = HOLDOUT_ID
            return RawGeometry(depth, normal, object_id, shown)
        return RawGeometry(depth, normal.view(np.float16), object_id, shown)


def _parts(words: NDArray[np.uint32], dtype: type) -> list[NDArray[np.uint8] | NDArray[np.uint16]]:
    """Their bytes or halves as views, from the lowest bits up."""
    parts = words.view(dtype).reshape(*words.shape, -1)
    order = range(parts.shape[-1])
    return [parts[..., index] for index in (order if sys.byteorder == "little" else reversed(order))]


def _build(thing: bpy.types.Object) -> gpu.types.GPUBatch | None:
    """A batch of an evaluated object's mesh; None when it has no faces."""
    mesh = thing.original.data if _is_sculpted_directly(thing) else thing.data
    in_edit_mode = not len(mesh.vertices)
    surface = surface_of(thing.to_mesh() if in_edit_mode else mesh)
    if in_edit_mode:
        thing.to_mesh_clear()
    if surface is None:
        return None
    vertices = gpu.types.GPUVertBuf(vertex_format(), len(surface.positions))
    vertices.attr_fill("position", surface.positions)
    vertices.attr_fill("normal", surface.normals)
    return gpu.types.GPUBatch(type="TRIS", buf=vertices, elem=gpu.types.GPUIndexBuf(type="TRIS", seq=surface.indices))


def _is_sculpted_directly(thing: bpy.types.Object) -> bool:
    """Whether Blender draws the sculpted mesh itself. The evaluated one then doesn't have the latest strokes."""
    if thing.mode != "SCULPT":
        return False
    original = thing.original
    return original.data.shape_keys is None and not any(modifier.show_viewport for modifier in original.modifiers)


def _instance_rows(drawn: list[ShownSurface], camera: Camera) -> NDArray[np.float32]:
    """What the shader's block holds, (N, INSTANCE_ROWS, 4), N padded to whole blocks.

    Matrices are multiplied in float64, so that being far from the origin costs no precision.
    """
    worlds = np.array([surface.entry.matrix_world for surface in drawn], np.float64).reshape(-1, 4, 4)
    model_view = camera.view_matrix @ worlds
    linear = model_view[:, :3, :3]
    blocks = -(-len(drawn) // INSTANCES_PER_BLOCK)
    rows = np.zeros((blocks * INSTANCES_PER_BLOCK, INSTANCE_ROWS, 4), np.float32)
    used = rows[: len(drawn)]
    used[:, 0:3] = model_view[:, :3]
    used[:, 3:6, :3] = _normal_matrices(linear)
    used[:, 3, 3] = [surface.drawn_id for surface in drawn]
    used[:, 4, 3] = np.where(np.linalg.det(linear) < 0.0, -1.0, 1.0)
    return rows


def _normal_matrices(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse transposes up to a positive factor, (N, 3, 3): cofactors, defined for flattened objects too."""
    first, second, third = linear[:, :, 0], linear[:, :, 1], linear[:, :, 2]
    cofactors = np.stack([np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=2)
    largest = np.abs(cofactors).max(axis=(1, 2), keepdims=True)
    sign = np.where(np.linalg.det(linear) < 0.0, -1.0, 1.0)[:, None, None]
    return sign * cofactors / np.where(largest > 0.0, largest, 1.0)


@contextmanager
def _plain_state() -> Iterator[None]:
    """Depth test on, blending and culling off; what was set before comes back."""
    test, mask, blend = gpu.state.depth_test_get(), gpu.state.depth_mask_get(), gpu.state.blend_get()
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.depth_mask_set(True)
    gpu.state.blend_set("NONE")
    gpu.state.face_culling_set("NONE")
    try:
        yield
    finally:
        gpu.state.depth_test_set(test)
        gpu.state.depth_mask_set(mask)
        gpu.state.blend_set(blend)
