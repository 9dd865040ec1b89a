"""Blender reads the server's normal maps as they are meant: on seams, on mirrored and turned islands, at any scale.

The server makes the map of a relief whose normals are known in world space; Blender's Normal Map node reads it, and
Cycles bakes what comes out.
"""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest

from .conftest import MODULE, SERVER_PYTHON
from .test_bake_agreement import OFFSET, PARTS, SIZE, add_box, add_monkey, add_torus, cycles

__all__ = ["cycles"]


def add_mosaic() -> bpy.types.Object:
    """A ball whose faces are islands in all directions: as they are, turned by a quarter, mirrored, or both."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    thing = bpy.context.object
    bpy.ops.object.shade_smooth()
    layer = thing.data.uv_layers.active.data
    for polygon in thing.data.polygons:
        row, column = divmod(polygon.index, 12)
        corners = [layer[loop].uv.copy() for loop in polygon.loop_indices]
        low = np.min(corners, axis=0)
        span = np.ptp(corners, axis=0) + 1e-9
        for loop, corner in zip(polygon.loop_indices, corners, strict=True):
            u, v = (np.array(corner) - low) / span
            if row % 2:
                u, v = 1.0 - v, u
            if column % 2:
                u = 1.0 - u
            layer[loop].uv = ((column + 0.1 + 0.8 * u) / 12.0, (row + 0.1 + 0.8 * v) / 12.0)
    return thing


def map_of(thing: bpy.types.Object, folder: Path) -> dict[str, np.ndarray]:
    """See relief.py."""
    meshes = importlib.import_module(f"{MODULE}.capture.meshes").meshes
    (arrays,) = meshes(bpy.context.evaluated_depsgraph_get(), [thing])
    source, target = folder / "mesh.npz", folder / "map.npz"
    np.savez(source, **{name: getattr(arrays, name) for name in PARTS})
    command = [SERVER_PYTHON, Path(__file__).with_name("relief.py"), source, target, SIZE]
    subprocess.run(list(map(str, command)), check=True, timeout=120)
    return dict(np.load(target))


def read_by_blender(thing: bpy.types.Object, pixels: np.ndarray) -> np.ndarray:
    """World normals (SIZE * SIZE, 3) that the Normal Map node makes of a map, 0 where there is no surface."""
    material = bpy.data.materials.new("Read")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    image = bpy.data.images.new("Map", SIZE, SIZE, float_buffer=True, is_data=True)
    values = np.ones((SIZE, SIZE, 4), np.float32)
    values[..., :3] = pixels[::-1] / 65535.0
    image.pixels.foreach_set(values.ravel())
    texture, reader = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeNormalMap")
    texture.image, texture.interpolation = image, "Closest"
    add, emission = nodes.new("ShaderNodeVectorMath"), nodes.new("ShaderNodeEmission")
    output, target = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeTexImage")
    add.inputs[1].default_value = (OFFSET,) * 3
    links.new(texture.outputs["Color"], reader.inputs["Color"])
    links.new(reader.outputs["Normal"], add.inputs[0])
    links.new(add.outputs[0], emission.inputs["Color"])
    links.new(emission.outputs[0], output.inputs["Surface"])
    baked = bpy.data.images.new("Bake", SIZE, SIZE, alpha=True, float_buffer=True, is_data=True)
    baked.generated_color = (0.0, 0.0, 0.0, 0.0)
    target.image = baked
    nodes.active = target
    thing.data.materials.clear()
    thing.data.materials.append(material)
    bpy.ops.object.bake(type="EMIT", margin=0)
    found = np.zeros(SIZE * SIZE * 4, np.float32)
    baked.pixels.foreach_get(found)
    found = found.reshape(SIZE, SIZE, 4)[::-1].reshape(-1, 4).astype(np.float64)
    return np.where(found[:, :1] > 0.0, found[:, :3] - OFFSET, 0.0)


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Degrees between vectors (N, 3)."""
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.degrees(np.arccos(np.clip((one * other).sum(1) / length, -1.0, 1.0)))


@pytest.mark.parametrize("add", [add_monkey, add_torus, add_box, add_mosaic])
def test_blender_reads_the_normals_that_are_meant(cycles, add, tmp_path: Path):
    thing = add()
    bpy.context.view_layer.update()
    ours = map_of(thing, tmp_path)
    theirs = read_by_blender(thing, ours["map"])[ours["index"]]
    on_it = np.linalg.norm(theirs, axis=1) > 0.5
    assert on_it.mean() > 0.99
    wanted, plain, read = ours["wanted"][on_it], ours["plain"][on_it], theirs[on_it]
    error, relief = angles(read, wanted), angles(plain, wanted)
    assert np.median(relief) > 15.0
    # Cycles turns a smooth normal that faces away from its own face, and 5.2 keeps tangents to half a degree.
    assert np.median(error) < 0.5
    assert np.quantile(error, 0.95) < 2.0
    assert np.quantile(error, 0.99) < 6.0
