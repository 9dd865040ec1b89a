"""Beside Blender's own bake, in Blender's Python: ``.venv-blender-5.2/bin/python benchmarks/blender_bake.py``.

A torus of 100 000 triangles on to a texture of 2048². Blender bakes, with Cycles on the CPU and one sample, what its
texels' positions and normals are: the least that any bake needs. The server works out the same from the mesh that the
extension reads, and then all of a texture: eight views of 1024² fused, filled in and padded.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from report import Report, parser

ROOT = Path(__file__).resolve().parents[1]
SERVER_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SIZE = 2048
VIEW_SIZE = 1024
PARTS = ("vertices", "triangles", "normals", "uvs", "matrix_world")


def main() -> int:
    options = parser("Bakes in Blender and by the server.", repeat=3)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    report = Report("blender_bake", arguments.output)
    with tempfile.TemporaryDirectory(prefix="scumble-benchmark-") as folder:
        os.environ["BLENDER_USER_RESOURCES"] = folder
        mesh = Path(folder) / "mesh.npz"
        with _quiet():
            theirs = blender_seconds(mesh, arguments.threads)
        command = [SERVER_PYTHON, __file__, "--server", mesh, arguments.threads, arguments.repeat]
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}  # as the server's workers
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=environment)
        texels, texture = map(float, done.stdout.split())
    threads = f"{arguments.threads} threads"
    report.add("Blender: positions and normals of 2048² texels", theirs, "s", note=threads)
    report.add("server: the same", texels, "s", note=f"{threads}, best of {arguments.repeat}")
    report.add("server: eight views of 1024² to a texture of 2048²", texture, "s", goal=3.0, note=threads)
    report.add("server's share of Blender's time, the same", texels / theirs, "x")
    once = "Blender baking one value for each view, without blending, filling or what hides what"
    report.add("server's share, the whole texture", texture / (4.0 * theirs), "x", goal=0.1, note=once)
    return report.finish()


# --- in Blender's Python ----------------------------------------------------------------------------


def blender_seconds(mesh: Path, threads: int) -> float:
    """Bakes both, and leaves the mesh at ``mesh`` as the extension reads it."""
    sys.path[:0] = [str(ROOT), str(ROOT / "shared")]
    package = ModuleType("blender_addon")  # without its own start-up code, which needs an installed extension's wheels
    package.__path__ = [str(ROOT / "blender_addon")]
    sys.modules["blender_addon"] = package
    import bpy

    from blender_addon.capture.meshes import meshes

    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.mesh.primitive_torus_add(major_segments=320, minor_segments=160, generate_uvs=True)
    thing = bpy.context.object
    bpy.ops.object.shade_smooth()
    (arrays,) = meshes(bpy.context.evaluated_depsgraph_get(), [thing])
    np.savez(mesh, **{name: getattr(arrays, name) for name in PARTS})
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", 1
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    return sum(_baked(thing, what) for what in ("Position", "Normal"))


def _baked(thing: object, what: str) -> float:
    """Seconds."""
    import bpy

    material = bpy.data.materials.new("Bake")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    geometry, emission = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeEmission")
    output, target = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeTexImage")
    links.new(geometry.outputs[what], emission.inputs["Color"])
    links.new(emission.outputs[0], output.inputs["Surface"])
    target.image = bpy.data.images.new("Bake", SIZE, SIZE, float_buffer=True, is_data=True)
    nodes.active = target
    thing.data.materials.clear()
    thing.data.materials.append(material)
    started = time.perf_counter()
    bpy.ops.object.bake(type="EMIT", margin=0)
    return time.perf_counter() - started


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Blender writes render statistics straight to the process's output; they would end up in the table."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


# --- in the server's Python -------------------------------------------------------------------------


def server(source: str, threads: int, repeat: int) -> None:
    """Prints the seconds of the texels and of a whole texture."""
    import torch
    from scumble_server.texturing.bake import bake
    from scumble_server.texturing.fuse import ViewImage
    from scumble_server.texturing.mesh import make_mesh
    from scumble_server.texturing.raster import rasterise
    from scumble_server.texturing.surface import Surface
    from scumble_server.texturing.views import place, render_geometry

    torch.set_num_threads(threads)
    given = np.load(source)
    mesh = make_mesh("it", *(given[name] for name in PARTS[:4]), matrix_world=given["matrix_world"])
    views = []
    for number in range(8):
        camera = place([mesh], 45.0 * number, 30.0 * (-1) ** number, (VIEW_SIZE, VIEW_SIZE)).camera
        picture = torch.rand(1, 3, VIEW_SIZE, VIEW_SIZE, generator=torch.Generator().manual_seed(number))
        views.append(ViewImage(render_geometry([mesh], camera), picture))

    def texels() -> None:
        some = rasterise(mesh, SIZE)
        surface = Surface(mesh, some)
        for begin in range(0, SIZE * SIZE, 1 << 17):
            surface.points(some.part(begin, begin + (1 << 17)))

    print(min(_seconds(texels, repeat)), min(_seconds(lambda: bake(mesh, views, SIZE), repeat)))


def _seconds(work: Callable[[], object], repeat: int) -> list[float]:
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--server"]:
        server(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        raise SystemExit(0)
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Blender's own end of process isn't safe
