"""Beside Blender's own bake, in Blender's Python: ``.venv-blender-5.2/bin/python benchmarks/blender_bake.py``.

Eight pictures of 1024² of a torus of 100 000 triangles, whose marble is known everywhere, become its texture of 2048²:
by the server, and by Blender as an artist would set it up by hand. One material projects all pictures from their
cameras, weighs each by the viewing angle (cosine³, none below 0.2) and by sharpness, leaves out what is hidden, and
divides by the sum of the weights; Cycles bakes what it gives off, on the CPU with one sample, into the UV map with 16
texels of margin. What hides what is told by the depth maps that the server has, too, with one tolerance for all; and,
where Blender has the node for it, by a ray to each camera.

Both are timed from what they are handed (mesh, cameras, 8-bit pictures, depth) to a padded 8-bit texture, in turns, and
judged by the marble. The artist's own minutes aren't counted. What Blender leaves out: evening out colours between
views, distrust of pixels at silhouettes, filling what no view sees, and checks of what each pixel shows.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from report import Report, parser

ROOT = Path(__file__).resolve().parents[1]
SERVER_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SIZE = 2048
VIEW_SIZE = 1024
VIEWS = 8
MARGIN = 16
BEHIND = 0.02
"""How much farther than the depth map's surface a point may be and still count as seen, scene units; the torus' tube
is 0.5 thick."""
PARTS = ("vertices", "triangles", "normals", "uvs", "matrix_world")


def main() -> int:
    options = parser("Bakes in Blender and by the server.", repeat=3)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    report = Report("blender_bake", arguments.output)
    with tempfile.TemporaryDirectory(prefix="scumble-benchmark-") as name:
        folder = Path(name)
        os.environ["BLENDER_USER_RESOURCES"] = name
        with _quiet():
            thing = _torus(folder / "mesh.npz", arguments.threads)
        with _server(folder, arguments.threads) as ask:
            views = np.load(folder / "views.npz")
            bakes = {"depth maps": _baker(thing, _projection(views, by_rays=False))}
            if _has_rays():
                bakes["rays"] = _baker(thing, _projection(views, by_rays=True))
            bakes["one value"] = _baker(thing, _position)
            times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in [*bakes, "server", "server, texels"]}
            for _ in range(arguments.repeat):
                for kind, bake in bakes.items():
                    with _quiet():
                        seconds, image = bake()
                    times[kind].append(seconds)
                    if kind != "one value":
                        np.save(folder / f"{kind}.npy", image)
                times["server"].append(ask("texture"))
                times["server, texels"].append(ask("texels"))
            quality = {kind: ask(f"judge {kind}") for kind in bakes if kind != "one value"}
    _tell(report, times, quality, arguments.threads)
    return report.finish()


def _tell(
    report: Report,
    times: dict[str, list[tuple[float, float]]],
    quality: dict[str, tuple[float, float]],
    threads: int,
) -> None:
    how = f"{threads} threads, median of {len(times['server'])}"
    for kind, (theirs, ours) in quality.items():
        wall, work = (statistics.median(both) for both in zip(*times[kind], strict=True))
        words = f"{how}; {work:.2f} s of processor; {theirs:.1f} dB, the server's {ours:.1f} dB"
        report.add(f"Blender: the whole texture, hidden by {kind}", wall, "s", note=words)
    for kind, name, goal in (
        ("server", "server: the whole texture", 3.0),
        ("one value", "Blender: positions of 2048² texels", None),
        ("server, texels", "server: positions and normals of 2048² texels", None),
    ):
        wall, work = (statistics.median(both) for both in zip(*times[kind], strict=True))
        report.add(name, wall, "s", goal=goal, note=f"{how}; {work:.2f} s of processor")
    for kind in quality:
        wall, work = _shares(times["server"], times[kind])
        note = f"median of shares taken in turns; {work:.3f} of its processor time"
        report.add(f"server's share of Blender's time, hidden by {kind}", wall, "x", goal=0.1, note=note)
    wall, work = _shares(times["server, texels"], times["one value"])
    report.add("server's share of one bare bake", wall, "x", note=f"{work:.3f} of its processor time")


def _shares(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> tuple[float, float]:
    """Of wall-clock and of processor time."""
    pairs = list(zip(ours, theirs, strict=True))
    wall, work = (statistics.median(mine[kind] / other[kind] for mine, other in pairs) for kind in (0, 1))
    return wall, work


@contextlib.contextmanager
def _server(folder: Path, threads: int) -> Iterator[Callable[[str], tuple[float, float]]]:
    """A process of the server's Python that has made the views, and answers requests with two numbers each."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}  # as the server's workers
    command = [str(SERVER_PYTHON), __file__, "--server", str(folder), str(threads)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, told = process.stdin, process.stdout

        def answer() -> tuple[float, float]:
            line = told.readline()
            if not line:
                raise SystemExit("the server's process ended")
            first, second = map(float, line.split())
            return first, second

        def ask(request: str) -> tuple[float, float]:
            print(request, file=given, flush=True)
            return answer()

        answer()
        yield ask
        given.close()


# --- in Blender's Python ----------------------------------------------------------------------------


def _torus(mesh: Path, threads: int) -> Any:
    """The object, also left at ``mesh`` as the extension reads it."""
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
    return thing


def _has_rays() -> bool:
    import bpy

    return hasattr(bpy.types, "ShaderNodeRaycast")


def _baker(thing: Any, colour: Callable[[_Nodes], Any]) -> Callable[[], tuple[tuple[float, float], Any]]:
    """What bakes a colour: (seconds by the clock, seconds of processor), and the image, float32 S x S x 3, top row
    first, as it is displayed."""
    import bpy

    nodes = _Nodes(bpy.data.materials.new("Bake"))
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    nodes.set(emission.inputs["Color"], colour(nodes))
    nodes.set(output.inputs["Surface"], emission.outputs[0])
    target = nodes.new("ShaderNodeTexImage")
    target.image = bpy.data.images.new("Bake", SIZE, SIZE)
    nodes.tree.nodes.active = target

    def bake() -> tuple[tuple[float, float], Any]:
        thing.data.materials.clear()
        thing.data.materials.append(nodes.material)
        started, worked = time.perf_counter(), time.process_time()
        bpy.ops.object.bake(type="EMIT", margin=MARGIN, margin_type="EXTEND")
        seconds = time.perf_counter() - started, time.process_time() - worked
        pixels = np.zeros(SIZE * SIZE * 4, np.float32)
        target.image.pixels.foreach_get(pixels)
        return seconds, pixels.reshape(SIZE, SIZE, 4)[::-1, :, :3]

    return bake


class _Nodes:
    """A material's nodes, written as sums."""

    def __init__(self, material: Any) -> None:
        if material.node_tree is None:
            material.use_nodes = True
        self.material, self.tree = material, material.node_tree
        self.tree.nodes.clear()

    def new(self, kind: str, **settings: object) -> Any:
        node = self.tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        return node

    def set(self, socket: Any, value: Any) -> None:
        """value: another socket, or a constant."""
        if hasattr(value, "is_output"):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: Any) -> Any:
        return self._operation("ShaderNodeMath", operation, values)

    def vector(self, operation: str, *values: Any) -> Any:
        return self._operation("ShaderNodeVectorMath", operation, values)

    def _operation(self, kind: str, operation: str, values: tuple[Any, ...]) -> Any:
        node = self.new(kind, operation=operation)
        for socket, value in zip([socket for socket in node.inputs if socket.enabled], values, strict=True):
            self.set(socket, value)
        return next(socket for socket in node.outputs if socket.enabled)

    def image(self, pixels: Any, place: Any, *, data: bool) -> Any:
        """Colour at ``place`` of an image, H x W x 3, top row first: uint8 sRGB, or float32 if it is data."""
        import bpy

        height, width = pixels.shape[:2]
        image = bpy.data.images.new("View", width, height, float_buffer=data, is_data=data)
        values = np.ones((height, width, 4), np.float32)
        values[..., :3] = pixels[::-1] if data else pixels[::-1] / np.float32(255.0)
        image.pixels.foreach_set(values.ravel())
        image.pack()
        node = self.new("ShaderNodeTexImage", image=image, extension="EXTEND")
        self.set(node.inputs["Vector"], place)
        return node.outputs["Color"]


def _position(nodes: _Nodes) -> Any:
    return nodes.new("ShaderNodeNewGeometry").outputs["Position"]


def _projection(views: Any, *, by_rays: bool) -> Callable[[_Nodes], Any]:
    """The mean of all views where they see the surface."""

    def colour(nodes: _Nodes) -> Any:
        surface = nodes.new("ShaderNodeNewGeometry").outputs
        total: Any = 0.0
        mixed: Any = (0.0, 0.0, 0.0)
        for view in range(VIEWS):
            found, weight = _view(nodes, surface, {name: views[name][view] for name in views.files}, by_rays=by_rays)
            total = nodes.math("ADD", weight, total)
            mixed = nodes.vector("MULTIPLY_ADD", found, weight, mixed)
        return nodes.vector("SCALE", mixed, nodes.math("DIVIDE", 1.0, nodes.math("MAXIMUM", total, 1e-6)))

    return colour


def _view(nodes: _Nodes, surface: Any, view: dict[str, Any], *, by_rays: bool) -> tuple[Any, Any]:
    """Sockets of a view's colour, and of its weight."""
    import bpy
    from mathutils import Matrix

    camera = bpy.data.objects.new("Camera", None)
    camera.matrix_world = Matrix(view["view"].tolist()).inverted()
    bpy.context.scene.collection.objects.link(camera)
    apart = nodes.new("ShaderNodeSeparateXYZ")
    nodes.set(apart.inputs[0], nodes.new("ShaderNodeTexCoord", object=camera).outputs["Object"])
    depth = nodes.math("MULTIPLY", apart.outputs["Z"], -1.0)
    place = nodes.new("ShaderNodeCombineXYZ")
    for axis in (0, 1):
        ratio = nodes.math("DIVIDE", apart.outputs[axis], depth)
        half = float(view["projection"][axis, axis]) / 2.0
        nodes.set(place.inputs[axis], nodes.math("MULTIPLY_ADD", ratio, half, 0.5))

    apart_by = nodes.vector("SUBTRACT", tuple(camera.matrix_world.translation), surface["Position"])
    direction = nodes.vector("NORMALIZE", apart_by)
    cosine = nodes.vector("DOT_PRODUCT", surface["Normal"], direction)
    weight = nodes.math("MULTIPLY", nodes.math("POWER", cosine, 3.0), nodes.math("GREATER_THAN", cosine, 0.2))
    weight = nodes.math("DIVIDE", weight, depth)
    if by_rays:
        ray = nodes.new("ShaderNodeRaycast")
        start = nodes.vector("MULTIPLY_ADD", surface["Normal"], (1e-4,) * 3, surface["Position"])
        nodes.set(ray.inputs["Position"], start)
        nodes.set(ray.inputs["Direction"], direction)
        nodes.set(ray.inputs["Length"], nodes.vector("LENGTH", apart_by))
        seen = nodes.math("SUBTRACT", 1.0, ray.outputs["Is Hit"])
    else:
        shown = nodes.image(np.repeat(view["depth"][..., None], 3, 2), place.outputs[0], data=True)
        seen = nodes.math("LESS_THAN", nodes.math("SUBTRACT", depth, shown), BEHIND)
    return nodes.image(view["picture"], place.outputs[0], data=False), nodes.math("MULTIPLY", weight, seen)


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


def server(folder: Path, threads: int) -> None:
    """Makes the views, then answers each line of input with two numbers: of "texture" and "texels" the seconds by the
    clock and of processor; of "judge NAME" the PSNR in dB of Blender's image and of the last texture, by the marble."""
    import torch
    from scumble_server.texturing.bake import Texture, bake
    from scumble_server.texturing.color import srgb_to_linear
    from scumble_server.texturing.fuse import ViewImage
    from scumble_server.texturing.mesh import make_mesh
    from scumble_server.texturing.raster import rasterise
    from scumble_server.texturing.surface import Surface
    from scumble_server.texturing.synthetic import marble, photograph, psnr
    from scumble_server.texturing.views import place
    from scumble_server.texturing.visibility import view_geometry

    torch.set_num_threads(threads)
    given = np.load(folder / "mesh.npz")
    mesh = make_mesh("it", *(given[name] for name in PARTS[:4]), matrix_world=given["matrix_world"])
    solid = marble(12.0)
    cameras = [place([mesh], 360.0 / VIEWS * i, 30.0 * (-1) ** i, (VIEW_SIZE,) * 2).camera for i in range(VIEWS)]
    shots = [photograph([mesh], camera, solid) for camera in cameras]
    depths = [shot.visible.depth for shot in shots]
    sides = [shot.visible.facing() for shot in shots]
    pictures = [(shot.image * 255.0 + 0.5).to(torch.uint8) for shot in shots]
    np.savez(
        folder / "views.npz",
        view=[camera.view_matrix for camera in cameras],
        projection=[camera.projection_matrix for camera in cameras],
        depth=[depth.clamp(max=1e6).numpy() for depth in depths],
        picture=[picture.permute(1, 2, 0).numpy() for picture in pictures],
    )
    made: list[Texture] = []

    def texture() -> None:
        views = [
            ViewImage(view_geometry(camera, depth, facing=side), srgb_to_linear(picture)[None])
            for camera, depth, side, picture in zip(cameras, depths, sides, pictures, strict=True)
        ]
        baked = bake(mesh, views, SIZE)
        assert baked.image.shape == (SIZE, SIZE, 3)
        made[:] = [baked]

    def texels() -> None:
        some = rasterise(mesh, SIZE)
        surface = Surface(mesh, some)
        for begin in range(0, SIZE * SIZE, 1 << 17):
            surface.points(some.part(begin, begin + (1 << 17)))

    def judged(name: str) -> tuple[float, float]:
        theirs = torch.from_numpy(np.load(folder / f"{name}.npy")).reshape(-1, 3)
        surface = Surface(mesh, made[0].texels)
        some = surface.texels.all()
        some_seen = (made[0].seen.flatten()[some.index] == 255) & (theirs[some.index] > 0.0).any(1)
        true = solid(surface.points(some).position.double() + surface.origin[:, None]).T[some_seen]
        at = some.index[some_seen]
        return psnr(theirs[at], true), psnr(made[0].image.view(-1, 3)[at] / 255.0, true)

    texture()
    print(0, 0, flush=True)
    for line in sys.stdin:
        request, _, name = line.strip().partition(" ")
        if request == "judge":
            print(*judged(name), flush=True)
            continue
        started, worked = time.perf_counter(), time.process_time()
        (texture if request == "texture" else texels)()
        print(time.perf_counter() - started, time.process_time() - worked, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--server"]:
        server(Path(sys.argv[2]), int(sys.argv[3]))
        raise SystemExit(0)
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Blender's own end of process isn't safe
