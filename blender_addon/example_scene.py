"""A small scene to try Scumble on: a ruin with columns, steps and a stone head. Made in a scene of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import bmesh
import bpy
from mathutils import Euler, Matrix, Vector, noise

__all__ = ["HERO", "build"]

HERO = "Scumble Head"
"""Name of the object in the middle, the one worth texturing first."""


def build(name: str = "Scumble Example") -> bpy.types.Scene:
    """Adds a new scene with UV-mapped meshes, a camera and a light; nothing else in the file changes."""
    scene = bpy.data.scenes.new(name)
    scene.render.resolution_x = scene.render.resolution_y = 512
    _ground(scene)
    for index in range(3):
        side = 3.4 - 0.7 * index
        _box(scene, f"Step {index + 1}", (side, side, 0.22), (0.0, 0.0, 0.11 + 0.22 * index))
    _box(scene, "Plinth", (1.1, 1.1, 0.9), (0.0, 0.0, 1.11))
    _head(scene)
    for index, (x, y, height) in enumerate([(-2.3, 1.6, 3.4), (2.3, 1.6, 3.4), (2.5, -0.9, 1.2)]):
        _column(scene, f"Column {index + 1}", (x, y), height)
    _box(scene, "Lintel", (6.0, 0.9, 0.5), (0.0, 1.6, 3.65))
    _rock(scene, "Rock", 0.55, (-1.9, -1.7, 0.28))
    _camera(scene)
    _light(scene)
    return scene


def _add(scene: bpy.types.Scene, name: str, make: Callable[[bmesh.types.BMesh], object]) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    shape = bmesh.new()
    shape.loops.layers.uv.new("UVMap")
    make(shape)
    for face in shape.faces:
        face.smooth = True
    shape.to_mesh(mesh)
    shape.free()
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def _bevel(thing: bpy.types.Object, width: float) -> None:
    bevel = thing.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments, bevel.harden_normals = width, 3, True


def _box(scene: bpy.types.Scene, name: str, size: tuple[float, ...], centre: tuple[float, ...]) -> None:
    scale = Matrix.Diagonal((*size, 1.0))
    thing = _add(scene, name, lambda shape: bmesh.ops.create_cube(shape, size=1.0, matrix=scale, calc_uvs=True))
    thing.location = centre
    _bevel(thing, 0.04)


def _column(scene: bpy.types.Scene, name: str, foot: tuple[float, float], height: float) -> None:
    def shaft(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_cone(shape, cap_ends=True, segments=40, radius1=0.36, radius2=0.3, depth=height, calc_uvs=True)

    thing = _add(scene, name, shaft)
    thing.location = (*foot, height / 2.0)
    _bevel(thing, 0.03)


def _rock(scene: bpy.types.Scene, name: str, radius: float, centre: tuple[float, float, float]) -> None:
    def boulder(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_uvsphere(shape, u_segments=48, v_segments=24, radius=radius, calc_uvs=True)
        for vertex in shape.verts:
            vertex.co *= 1.0 + 0.35 * noise.fractal(vertex.co * 1.7, 1.0, 2.0, 4)

    _add(scene, name, boulder).location = centre


def _head(scene: bpy.types.Scene) -> None:
    thing = _add(scene, HERO, lambda shape: bmesh.ops.create_monkey(shape, calc_uvs=True))
    thing.matrix_world = (
        Matrix.Translation((0.0, -0.05, 2.3)) @ Euler((-0.2, 0.0, 0.25)).to_matrix().to_4x4() @ Matrix.Scale(0.85, 4)
    )
    subdivision = thing.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels = subdivision.render_levels = 2


def _ground(scene: bpy.types.Scene) -> None:
    def terrain(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_grid(shape, x_segments=60, y_segments=60, size=9.0, calc_uvs=True)
        for vertex in shape.verts:
            away = max(0.0, vertex.co.length - 2.6)
            vertex.co.z = min(away * 0.12, 0.5) * noise.fractal(vertex.co * 0.45, 1.0, 2.0, 3) - 0.01

    _add(scene, "Ground", terrain)


def _camera(scene: bpy.types.Scene) -> None:
    lens = bpy.data.cameras.new("Scumble Camera")
    lens.lens = 42.0
    thing = bpy.data.objects.new("Scumble Camera", lens)
    eye, target = Vector((3.1, -7.4, 3.1)), Vector((0.0, 0.0, 1.55))
    thing.matrix_world = Matrix.Translation(eye) @ (target - eye).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    scene.collection.objects.link(thing)
    scene.camera = thing


def _light(scene: bpy.types.Scene) -> None:
    sun = bpy.data.lights.new("Scumble Sun", "SUN")
    sun.energy, sun.angle = 2.6, math.radians(6.0)
    thing = bpy.data.objects.new("Scumble Sun", sun)
    thing.rotation_euler = (math.radians(48.0), math.radians(12.0), math.radians(35.0))
    scene.collection.objects.link(thing)
    world = bpy.data.worlds.new("Scumble World")
    if bpy.app.version < (5, 0, 0):
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.2, 0.24, 0.3, 1.0)
    scene.world = world
