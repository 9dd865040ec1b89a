"""How long a capture takes, in Blender's own Python: ``.venv-blender-5.2/bin/python benchmarks/capture.py``.

Captures of 512 x 512 with depth, normal and id, from the changed scene to the finished buffers, Blender's own
evaluation included; after a first one that isn't counted (it compiles shaders and builds batches).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from report import Report, parser

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "shared")]
profile = tempfile.TemporaryDirectory(prefix="scumble-benchmark-")
os.environ["BLENDER_USER_RESOURCES"] = profile.name

# The add-on's package without its own start-up code, which needs wheels that only an installed extension has.
package = ModuleType("blender_addon")
package.__path__ = [str(ROOT / "blender_addon")]
sys.modules["blender_addon"] = package

import bpy  # noqa: E402
import numpy as np  # noqa: E402

from blender_addon import capture  # noqa: E402

SIZE = 512
SCENES = (
    ("1 k triangles", 1, 22, 8.0),
    ("100 k triangles", 10, 71, 20.0),
    ("100 k triangles, 500 objects", 500, 10, None),
)
"""What, number of objects, quads along a side of each, goal in milliseconds."""


def main() -> int:
    options = parser("Captures in Blender.", repeat=30).parse_args()
    report = Report("capture", options.output)
    with _quiet():
        measure(report, options.repeat)
    return report.finish()


def measure(report: Report, repeat: int) -> None:
    version = f"Blender {bpy.app.version_string}"
    for label, objects, cuts, goal in SCENES:
        build(objects, cuts)
        if capture.gpu_available():
            report.add_times(f"new view, {label}, GPU", times(repeat, turn_camera, "gpu"), goal_ms=goal, note=version)
        report.add_times(f"new view, {label}, Cycles", times(5, turn_camera, "cycles"), note=version)
    if capture.gpu_available():
        build(10, 55)
        patch("Edited", 173)
        report.add_times(
            "60 k triangles edited, 60 k kept, GPU", times(repeat, edit, "gpu"), goal_ms=60.0, note=version
        )


def build(objects: int, cuts: int) -> None:
    """A new scene of bumpy, smooth patches that fill the view."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    side = int(np.ceil(np.sqrt(objects)))
    for index in range(objects):
        thing = patch(f"Patch {index}", cuts)
        thing.location = (2.0 * (index % side), 2.0 * (index // side), 0.0)
    lens = bpy.data.cameras.new("Camera")
    camera = bpy.data.objects.new("Camera", lens)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.location = (side - 1.0, side - 1.0, 2.2 * side + 1.0)


def patch(name: str, cuts: int) -> bpy.types.Object:
    """A grid of ``cuts`` x ``cuts`` quads over two units."""
    line = np.linspace(-1.0, 1.0, cuts + 1)
    x, y = np.meshgrid(line, line)
    points = np.stack([x, y, 0.1 * np.sin(7.0 * x) * np.cos(5.0 * y)], axis=-1).reshape(-1, 3)
    corner = (np.arange(cuts)[:, None] * (cuts + 1) + np.arange(cuts)).ravel()
    quads = np.stack([corner, corner + 1, corner + cuts + 2, corner + cuts + 1], axis=-1)
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.ravel())
    mesh.loops.add(quads.size)
    mesh.loops.foreach_set("vertex_index", quads.ravel())
    mesh.polygons.add(len(quads))
    mesh.polygons.foreach_set("loop_start", np.arange(0, quads.size, 4))
    mesh.update(calc_edges=True)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def turn_camera(step: int) -> None:
    bpy.context.scene.camera.rotation_euler = (0.02 * (step % 5), 0.015 * (step % 3), 0.1 * step)


def edit(step: int) -> None:
    mesh = bpy.data.objects["Edited"].data
    points = np.zeros(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    points[2::3] += 0.01 if step % 2 else -0.01
    mesh.vertices.foreach_set("co", points)
    mesh.update()


def times(repeat: int, change: Callable[[int], None], method: str) -> list[float]:
    """Seconds of each capture."""
    scene, seconds = bpy.context.scene, []
    for step in range(repeat + 1):
        change(step)
        start = time.perf_counter()
        capture.capture_camera(scene, width=SIZE, height=SIZE, method=method)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


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


if __name__ == "__main__":
    status = main()
    profile.cleanup()
    sys.stdout.flush()
    os._exit(status)  # Blender's own end of process isn't safe with GPU objects alive
