"""The server's texels are where Blender's own bake has them.

Blender bakes, with Cycles, what each texel's position and normal are, as the light that the surface gives off; the
server rasterises the mesh that the extension reads of the same object.
"""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from .conftest import MODULE, SERVER_PYTHON

SIZE = 96
PARTS = ("vertices", "triangles", "normals", "uvs", "matrix_world")
OFFSET = 8.0
"""Added to what is baked: surfaces give off no negative light."""


def add_monkey() -> bpy.types.Object:
    """Smooth, subdivided, stretched."""
    bpy.ops.mesh.primitive_monkey_add()
    thing = bpy.context.object
    subdivision = thing.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels = subdivision.render_levels = 1  # a bake has renders' levels, the extension viewports'
    bpy.ops.object.shade_smooth()
    turned = Matrix.Translation((0.5, -0.2, 1.0)) @ Matrix.Rotation(0.7, 4, "X")
    thing.matrix_world = turned @ Matrix.Diagonal((1.0, 2.0, 0.6, 1.0))
    return thing


def add_torus() -> bpy.types.Object:
    """Mirrored."""
    bpy.ops.mesh.primitive_torus_add(generate_uvs=True)
    thing = bpy.context.object
    bpy.ops.object.shade_smooth()
    thing.scale = (-1.0, 1.0, 1.0)
    return thing


def add_box() -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def baked(thing: bpy.types.Object, what: str) -> np.ndarray:
    """float64 (SIZE, SIZE, 4), top row first: what a node called Geometry says of each texel's centre, and whether the
    texel is on the surface."""
    material = bpy.data.materials.new("Bake")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    geometry, add = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeVectorMath")
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    target = nodes.new("ShaderNodeTexImage")
    add.inputs[1].default_value = (OFFSET,) * 3
    links.new(geometry.outputs[what], add.inputs[0])
    links.new(add.outputs[0], emission.inputs["Color"])
    links.new(emission.outputs[0], output.inputs["Surface"])
    image = bpy.data.images.new("Bake", SIZE, SIZE, alpha=True, float_buffer=True, is_data=True)
    image.generated_color = (0.0, 0.0, 0.0, 0.0)
    target.image = image
    nodes.active = target
    thing.data.materials.clear()
    thing.data.materials.append(material)
    pixels = np.zeros(SIZE * SIZE * 4, np.float32)
    bpy.ops.object.bake(type="EMIT", margin=0)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(SIZE, SIZE, 4)[::-1].astype(np.float64)
    on = pixels[..., :1] > 0.0
    return np.concatenate([pixels[..., :3] - OFFSET, on], axis=2)


@pytest.fixture
def cycles(scene: bpy.types.Scene) -> bpy.types.Scene:
    bpy.ops.object.delete()
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", 1
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    return scene


def texels_of(thing: bpy.types.Object, folder: Path) -> dict[str, np.ndarray]:
    """What the server makes of the object; see texels.py."""
    meshes = importlib.import_module(f"{MODULE}.capture.meshes").meshes
    (arrays,) = meshes(bpy.context.evaluated_depsgraph_get(), [thing])
    source, target = folder / "mesh.npz", folder / "texels.npz"
    np.savez(source, **{name: getattr(arrays, name) for name in PARTS})
    command = [SERVER_PYTHON, Path(__file__).with_name("texels.py"), source, target, SIZE]
    subprocess.run(list(map(str, command)), check=True, timeout=120)
    return dict(np.load(target))


def spread(index: np.ndarray, position: np.ndarray) -> np.ndarray:
    """How far the surface goes on from each texel to its neighbours, world units; 0 for one without any."""
    places = np.full((SIZE * SIZE, 3), np.nan)
    places[index] = position
    places = places.reshape(SIZE, SIZE, 3)
    steps = np.zeros((SIZE, SIZE))
    for axis in (0, 1):
        step = np.nan_to_num(np.linalg.norm(np.diff(places, axis=axis), axis=2))
        for back in (0, 1):
            wide = np.pad(step, [(back, 1 - back) if side == axis else (0, 0) for side in (0, 1)])
            steps = np.maximum(steps, wide)
    return steps.ravel()[index]


@pytest.mark.parametrize("add", [add_monkey, add_torus, add_box])
def test_texels_are_where_blender_bakes_them(cycles, add, tmp_path: Path):
    """To a hundredth of a texel: Blender looks a thousandth of one beside centres, so that edges there are decided
    one way, and slanted UVs make more of that. Beyond it there is float32."""
    thing = add()
    bpy.context.view_layer.update()
    ours = texels_of(thing, tmp_path)
    index = ours["index"]
    position, normal = baked(thing, "Position"), baked(thing, "Normal")
    theirs = np.flatnonzero(position[..., 3])
    assert len(np.setxor1d(index, theirs)) <= 0.001 * len(theirs)

    both = np.isin(index, theirs)
    away = np.linalg.norm(position.reshape(-1, 4)[index, :3] - ours["position"], axis=1)
    allowed = 0.01 * spread(index, ours["position"]) + 2e-6 * OFFSET
    assert (away <= allowed)[both].all()

    true = normal.reshape(-1, 4)[index, :3]
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((true * ours["normal"]).sum(1), -1.0, 1.0)))[both]
    turned = angle > 90.0  # Cycles turns a smooth normal that faces away from its own face
    assert turned.mean() <= 0.001
    angle[turned] = 180.0 - angle[turned]
    assert angle.max() < 1.0
    assert np.median(angle) < 0.05
