"""Small things to put into a scene, made from data so that the expected picture is known exactly."""

from __future__ import annotations

import math

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector


def add_mesh(name: str, make, smooth: bool = False, matrix: Matrix | None = None) -> bpy.types.Object:
    """A new object whose mesh ``make(bmesh)`` fills."""
    mesh = bpy.data.meshes.new(name)
    shape = bmesh.new()
    shape.loops.layers.uv.new("UVMap")
    make(shape)
    for face in shape.faces:
        face.smooth = smooth
    shape.to_mesh(mesh)
    shape.free()
    return add_object(name, mesh, matrix)


def add_object(name: str, data, matrix: Matrix | None = None) -> bpy.types.Object:
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    if matrix is not None:
        thing.matrix_world = matrix
    return thing


def add_plane(size: float = 20.0, matrix: Matrix | None = None, name: str = "Plane") -> bpy.types.Object:
    return add_mesh(name, lambda b: bmesh.ops.create_grid(b, x_segments=1, y_segments=1, size=size / 2), matrix=matrix)


def add_box(size: float = 2.0, matrix: Matrix | None = None, name: str = "Box") -> bpy.types.Object:
    return add_mesh(name, lambda b: bmesh.ops.create_cube(b, size=size, calc_uvs=True), matrix=matrix)


def add_sphere(radius: float = 1.0, segments: int = 192, smooth: bool = True, name: str = "Sphere") -> bpy.types.Object:
    """A sphere of facets with its poles on z."""
    around, rows = segments, segments // 2
    longitude = np.arange(around) * (2.0 * np.pi / around)
    latitude = (np.arange(1, rows) / rows - 0.5) * np.pi
    ring = np.stack([np.cos(longitude), np.sin(longitude)], axis=-1)
    body = np.concatenate([np.column_stack([np.cos(v) * ring, np.full(around, np.sin(v))]) for v in latitude])
    vertices = np.concatenate([body, [(0, 0, -1), (0, 0, 1)]]) * radius
    here = np.arange(around)
    after = (here + 1) % around
    faces = [
        (r + a, r + b, r + around + b, r + around + a)
        for r in range(0, len(body) - around, around)
        for a, b in zip(here, after, strict=True)
    ]
    south, north, last = len(body), len(body) + 1, len(body) - around
    faces += [(south, b, a) for a, b in zip(here, after, strict=True)]
    faces += [(north, last + a, last + b) for a, b in zip(here, after, strict=True)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces, shade_flat=not smooth)
    return add_object(name, mesh)


def add_monkey(matrix: Matrix | None = None, smooth: bool = True, name: str = "Monkey") -> bpy.types.Object:
    return add_mesh(name, bmesh.ops.create_monkey, smooth=smooth, matrix=matrix)


def add_camera(eye=(3.0, -5.0, 2.5), target=(0.0, 0.0, 0.0), **lens) -> bpy.types.Object:
    """The scene's camera, looking at ``target``; ``lens`` sets properties of the camera data."""
    data = bpy.data.cameras.new("Camera")
    for name, value in lens.items():
        setattr(data, name, value)
    back = (Vector(eye) - Vector(target)).normalized()
    rotation = back.to_track_quat("Z", "Y").to_matrix().to_4x4()
    thing = add_object("Camera", data, Matrix.Translation(eye) @ rotation)
    bpy.context.scene.camera = thing
    return thing


def render_size(width: int, height: int, percentage: int = 100) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, percentage


def still_life() -> None:
    """A monkey on a warped, flat-shaded ground beside a mirrored box: smooth, flat, far and grazing surfaces."""
    add_monkey(Matrix.Translation((0.0, 0.0, 0.6)) @ Matrix.Rotation(0.4, 4, "Z"))
    add_box(1.0, Matrix.Translation((-1.6, 0.3, 0.2)) @ Matrix.Diagonal((-1.0, 0.6, 1.3, 1.0)))

    def ground(shape):
        bmesh.ops.create_grid(shape, x_segments=8, y_segments=8, size=5.0)
        for index, vertex in enumerate(shape.verts):
            vertex.co.z = -0.5 + 0.3 * math.sin(1.7 * index)

    add_mesh("Ground", ground)
    add_camera()


def instance_on_points(thing: bpy.types.Object, instanced: bpy.types.Object) -> None:
    """A geometry nodes modifier that puts ``instanced`` on each vertex of ``thing``."""
    tree = bpy.data.node_groups.new("Instances", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    points, info = tree.nodes.new("GeometryNodeInstanceOnPoints"), tree.nodes.new("GeometryNodeObjectInfo")
    info.inputs["Object"].default_value = instanced
    info.inputs["As Instance"].default_value = True
    tree.links.new(start.outputs[0], points.inputs["Points"])
    tree.links.new(info.outputs["Geometry"], points.inputs["Instance"])
    tree.links.new(points.outputs["Instances"], end.inputs[0])
    thing.modifiers.new("Instances", "NODES").node_group = tree
