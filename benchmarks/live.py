"""Live mode, from a turn of the viewport to its picture: ``.venv-blender-5.2/bin/python benchmarks/live.py``.

In Blender's own Python, with the built extension and a real server process. First with an executor that costs next
to nothing, so that what is left is everything but the model; then with the built-in model, at 1, 2 and 4 steps. Without
a window nothing waits for Blender's loop to come round, which adds about 3 ms in one (it sleeps 5 ms when idle).
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from report import Report, parser, quantile

ROOT = Path(__file__).resolve().parents[1]
MODULE = "bl_ext.user_default.scumble"
SERVER_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
profile = tempfile.TemporaryDirectory(prefix="scumble-benchmark-")
os.environ["BLENDER_USER_RESOURCES"] = profile.name
os.environ["SCUMBLE_HOME"] = str(Path(profile.name, "scumble"))

import bpy  # noqa: E402 - it reads the environment when it is imported
import numpy as np  # noqa: E402
from mathutils import Quaternion  # noqa: E402

SIZE = 512
RATE = 4.0
"""Low enough for drafts of full size."""

PAUSE = 0.0003
"""Seconds between looks; without it this thread would keep the network's from running."""

MODEL_SIZE = 256
GOAL_MS, GOAL_95_MS, TURN_GOAL_MS = 8.0, 15.0, 4.0


def main() -> int:
    arguments = parser("Live mode in Blender.", repeat=200)
    arguments.add_argument("--seconds", type=float, default=10.0, help="of turning, for each number of steps")
    options = arguments.parse_args()
    report = Report("live", options.output)
    with quiet():
        api = install()
        if not part("capture").gpu_available():
            raise SystemExit("live mode is measured with GPU capture, and this Blender can't draw")
        with serving("--executor", "still:Still"):
            chain(report, api, options.repeat)
        with serving():
            rates(report, api, options.seconds)
    return report.finish()


def part(name: str) -> ModuleType:
    """A module of the installed extension."""
    return importlib.import_module(f"{MODULE}.{name}")


def install() -> ModuleType:
    command = [SERVER_PYTHON, "-m", "scumble_server.cli", "build-addon", "--output", profile.name]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=ROOT)
    bpy.ops.extensions.package_install_files(
        filepath=str(next(Path(profile.name).glob("*.zip"))), repo="user_default", enable_on_install=True
    )
    bpy.context.preferences.addons[MODULE].preferences.connection = "RUNNING"
    return part("api")


@contextlib.contextmanager
def serving(
    *arguments: str, program: tuple[str, ...] = ("-m", "scumble_server.cli")
) -> Iterator[subprocess.Popen[str]]:
    """A server that Blender finds by its record; this folder is on its import path."""
    command = [SERVER_PYTHON, *program, "serve", "--port", "0", "--exit-with-stdin", *arguments]
    path = os.pathsep.join(filter(None, [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(
        list(map(str, command)), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if not process.stdout.readline():
            raise RuntimeError("the server ended at once")
        yield process
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def scene(size: int, steps: int, rate: float) -> None:
    """The example scene in the viewport."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.window.scene = part("example_scene").build()
    settings = bpy.context.scene.scumble
    settings.prompt, settings.width, settings.height, settings.num_inference_steps = "old stone", size, size, steps
    settings.live.rate, settings.live.refine = rate, False
    view = viewport()
    view.view_perspective, view.view_location, view.view_distance = "PERSP", (0.0, 0.0, 1.4), 12.0
    view.update()


def viewport() -> bpy.types.RegionView3D:
    return next(area for area in bpy.context.screen.areas if area.type == "VIEW_3D").spaces.active.region_3d


def turn(degrees: float = 2.0) -> None:
    view = viewport()
    view.view_rotation = Quaternion((0.0, 0.0, 1.0), math.radians(degrees)) @ view.view_rotation
    view.update()


def chain(report: Report, api: ModuleType, repeat: int) -> None:
    """Everything but the model, step by step."""
    api.connect()
    scene(SIZE, 4, RATE)
    whole: list[float] = []
    stages: dict[str, list[float]] = {}
    with api.live() as view:
        while view.record is None or view.record.job.width < SIZE:
            turn()
            view.settle()
        bpy.context.scene.scumble.live.refine = (
            True  # as it is by default; drafts without a refine are captured exactly
        )
        view.settle()
        for _ in range(repeat):
            turn()
            begin, pictures = time.perf_counter(), view.pictures
            marks = {"captured": 0.0}
            while view.pictures == pictures:
                api.step()
                mark(marks, time.perf_counter())
                time.sleep(PAUSE)
            end = time.perf_counter()
            whole.append(end - begin)
            add(stages, marks, begin, end)
            view.settle()
            time.sleep(1.0 / RATE)  # or the next would wait for its time
        size = view.record.job.width
        note = f"{size} x {size}, no model, {bpy.app.version_string}"
        report.add_times("change to picture, without the model", whole, goal_ms=GOAL_MS, note=note)
        report.add("change to picture, 95 % within", quantile(whole, 0.95) * 1e3, "ms", goal=GOAL_95_MS, note=note)
        for name, seconds in stages.items():
            report.add_times(f"  {name}", seconds)
        draw(report, view, repeat)
        turns = list(view.timings.turns)
        report.add(
            "main thread per turn, captures aside, 95 % within", quantile(turns, 0.95) * 1e3, "ms", goal=TURN_GOAL_MS
        )
    api.disconnect()


def mark(marks: dict[str, float], now: float) -> None:
    """Notes when a job was first seen to have got somewhere."""
    jobs = part("state").session().jobs
    record = next((record for record in jobs.live() if record.target.live), None)
    if record is None:
        return
    marks["captured"] = marks["captured"] or now
    if record.state == "running":
        marks.setdefault("started", now)
    if record.step > 0:
        marks.setdefault("first step", now)


def add(stages: dict[str, list[float]], marks: dict[str, float], begin: float, end: float) -> None:
    """Splits one change into its stages; those that came within one turn count to the last of them."""
    names = {
        "captured": "notice and capture",
        "started": "encode, socket, queue, worker",
        "first step": "first step",
    }
    before = begin
    for name, words in names.items():
        if name in marks and marks[name] > 0.0:
            stages.setdefault(words, []).append(marks[name] - before)
            before = marks[name]
    stages.setdefault("rest of the job, result, decode", []).append(end - before)


def draw(report: Report, view: object, repeat: int) -> None:
    """The newest picture on the surfaces, into a viewport of its own size, new textures each time."""
    import gpu

    parts = {name: part(name) for name in ("live.surface", "capture", "apply.overlay")}
    surface, camera = parts["live.surface"], view.record.job.view.camera
    depth = view.record.tensors[view.record.job.view.depth]
    target = gpu.types.GPUOffScreen(SIZE, SIZE, format="RGBA8")
    eye = (*np.linalg.inv(camera.view_matrix)[:3, 3], 1.0)
    seen = surface.View(camera.projection_matrix @ camera.view_matrix, eye, SIZE)
    pixel = np.zeros((1, 1, 4), np.float32)
    seconds = []
    with target.bind():
        framebuffer = gpu.state.active_framebuffer_get()
        for _ in range(repeat):
            begin = time.perf_counter()
            shown = view.record.prepared.shown
            paint = surface.SurfacePaint(camera, shown, depth, parts["capture"].drawn_surfaces())
            framebuffer.clear(color=(0.0, 0.0, 0.0, 0.0), depth=1.0)
            paint.draw(seen, parts["apply.overlay"].Look(), lambda drawn: drawn.entry.matrix_world)
            into = gpu.types.Buffer("FLOAT", pixel.shape, pixel)
            framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT", data=into)  # waits until it is drawn
            seconds.append(time.perf_counter() - begin)
    target.free()
    report.add_times("draw on surfaces, new picture", seconds[1:])


def rates(report: Report, api: ModuleType, duration: float) -> None:
    """Pictures per second of the built-in model while the viewport keeps turning, in just these numbers of steps."""
    part("live.painter").FEW_STEPS = 0  # or drafts would have fewer, to hold the rate
    api.connect()
    for steps in (1, 2, 4):
        scene(MODEL_SIZE, steps, 60.0)
        with api.live() as view:
            view.settle(300.0)  # the model is loaded
            pictures, end = view.pictures, time.perf_counter() + duration
            while time.perf_counter() < end:
                turn(0.5)
                api.step()
                time.sleep(0.004)  # as Blender's own loop
            made = view.pictures - pictures
            trips = list(view.timings.trips)[-made:]
        name = f"built-in model, {MODEL_SIZE} x {MODEL_SIZE}, {steps} step{'s' if steps > 1 else ''}"
        report.add(f"{name}: pictures per second", made / duration, "/s", note="the view turns all the time")
        report.add_times(f"{name}: submission to picture", trips)
    api.disconnect()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Blender tells standard output what it installs and compiles."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)


def run(main: Callable[[], int]) -> None:
    """The whole program. Blender's module can crash or hang at the end of Python while it holds drawing contexts."""
    status = 1
    try:
        status = main()
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        profile.cleanup()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    run(main)
