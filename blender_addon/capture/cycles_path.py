"""Capture where nothing can draw: one Cycles sample through every pixel centre, in a scene of its own.

The scratch scene gets copies of the evaluated meshes, so both paths see the same surfaces; none of the file's
objects, materials or settings is involved. Surfaces emit their id: emission is the one closure whose shading normal
Cycles hands out as interpolated (others bend it at grazing angles), and its value comes through unchanged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera, Matrix4
from scumble_shared.errors import ErrorCode, ScumbleError

from ..compat import set_float_exr
from .exr import read_exr
from .gpu_path import RawGeometry
from .lens import look_through, samples_per_pixel
from .scene_walk import Evaluated, ShownSurface, walk
from .scratch_scene import NAME, scratch_scene, silent_render

__all__ = ["capture_with_cycles"]


def capture_with_cycles(
    sources: Sequence[Evaluated],
    camera: Camera,
    holdout: Callable[[bpy.types.Object], bool],
) -> RawGeometry:
    """Like the GPU path, some hundred milliseconds instead of a few."""
    with scratch_scene() as scene:
        shown = _fill(scene, sources, holdout)
        look_through(scene, camera)
        _one_exact_sample(scene)
        passes = _rendered(scene)
    return _unpacked(passes, camera, shown)


def _fill(
    scene: bpy.types.Scene,
    sources: Sequence[Evaluated],
    holdout: Callable[[bpy.types.Object], bool],
) -> list[ShownSurface]:
    """Rebuilds what is shown, in the scratch scene."""
    material = _id_material()
    copies: dict[int, bpy.types.Mesh] = {}

    def visit(mesh_uid: int, thing: bpy.types.Object) -> bool:
        copy = bpy.data.meshes.new_from_object(thing)
        copy.materials.clear()
        copy.materials.append(material)
        copies[mesh_uid] = copy
        return len(copy.polygons) > 0

    shown = walk(sources, holdout, visit)
    origin = bpy.data.objects.new(NAME, None)
    scene.collection.objects.link(origin)
    for surface in shown:
        thing = bpy.data.objects.new(NAME, copies[surface.mesh_uid])
        thing.parent = origin
        thing.matrix_parent_inverse = _matrix(surface.entry.matrix_world)  # unlike matrix_world, it can shear
        thing.color = (surface.drawn_id, 0.0, 0.0, 1.0)
        scene.collection.objects.link(thing)
    return shown


def _matrix(values: Matrix4) -> Matrix:
    return Matrix([values[row : row + 4] for row in range(0, 16, 4)])


def _id_material() -> bpy.types.Material:
    """Emits the object's colour and lights nothing."""
    material = bpy.data.materials.new(NAME)
    if material.node_tree is None:
        material.use_nodes = True
    material.cycles.emission_sampling = "NONE"
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    color = nodes.new("ShaderNodeObjectInfo")
    emission = nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    links.new(color.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def _one_exact_sample(scene: bpy.types.Scene) -> None:
    """One sample in the middle of each pixel, without bounces, noise treatment or tiles."""
    try:
        scene.render.engine = "CYCLES"
    except TypeError as error:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED, "Cycles is switched off; enable its add-on in the preferences.", field="method"
        ) from error
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples, cycles.max_bounces = 1, 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    cycles.use_denoising = cycles.use_adaptive_sampling = cycles.use_auto_tile = False
    scene.render.film_transparent = True
    scene.render.use_motion_blur = False
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = True


def _rendered(scene: bpy.types.Scene) -> dict[str, NDArray[np.float32]]:
    """Passes by name ("Depth.Z", "Normal.X", ...) without the layer's name in front."""
    set_float_exr(scene.render.image_settings)
    with tempfile.TemporaryDirectory(prefix="scumble-capture-") as folder:
        scene.render.filepath = str(Path(folder) / "passes.exr")
        silent_render(scene, write=True)
        channels = read_exr(Path(folder) / "passes.exr")
    return {name.partition(".")[2]: pixels for name, pixels in channels.items()}


def _unpacked(passes: dict[str, NDArray[np.float32]], camera: Camera, shown: list[ShownSurface]) -> RawGeometry:
    every = samples_per_pixel(camera)
    part = np.s_[every // 2 :: every, every // 2 :: every]
    object_id = np.rint(passes["Combined.R"][part]).astype(np.uint16)
    hit = object_id > 0
    depth = np.where(hit, passes["Depth.Z"][part], np.float32(np.inf))
    world = np.stack([passes[f"Normal.{axis}"][part] for axis in "XYZ"], axis=-1)
    normal = (world @ camera.view_matrix[:3, :3].T.astype(np.float32)) * hit[..., None]
    return RawGeometry(depth, normal.astype(np.float16), object_id, shown)
