"""Live mode for a long time, and nothing grows: ``.venv-blender-5.2/bin/python benchmarks/soak.py``. Linux.

Thousands of frames of a tiny model, in Blender's own Python with the built extension and a real server: each a turn of
the view, captured, painted by the engine in its worker process, and now and then drawn on the surfaces. Memory, open
handles and threads of all three processes are looked at all the while. After a warm-up memory may not rise by more than
``BOUND`` for each frame, and handles and threads not at all.
"""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import live
import numpy as np
from report import Report, parser

FRAMES = 10_000
WARM_UP = 0.25
"""Part of the frames in which what is bounded may still fill."""

STORE, KNOWN = 16 * 1024**2, 2048
"""Bytes of tensors that this server keeps for re-use, and tensors it remembers. A real one keeps up to 2 GB and
remembers 16 384, which so small frames would be long in reaching."""

SAMPLES = 100
SIZE, STEPS = 64, 1
BOUND = 256.0
"""Bytes a frame, by the slope of the line through all samples: 2.5 MB in ten thousand frames."""

DRAW_EVERY = 10
TOLD_EVERY = 1000
MODEL = "tiny"
MAKE_MODEL = """
import sys; from pathlib import Path
from scumble_server.models.seeded import install_seeded_model
install_seeded_model(Path(sys.argv[1]))
"""
SERVE = """
import sys
from dataclasses import replace
from functools import partial
from scumble_server.cli import main
from scumble_server.commands import serve
from scumble_server.net import server
from scumble_shared.limits import DEFAULT_LIMITS
limits = replace(DEFAULT_LIMITS, store_bytes=int(sys.argv.pop(1)))
serve.engine_service = partial(serve.engine_service, limits=limits)
server.KnownTensors = partial(server.KnownTensors, limit=int(sys.argv.pop(1)))
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process. memory: resident, bytes."""

    memory: int
    handles: int
    threads: int


def main() -> int:
    if not sys.platform.startswith("linux"):
        raise SystemExit("memory, handles and threads are read from /proc, which only Linux has")
    arguments = parser("Live mode for a long time.", repeat=FRAMES)
    options = arguments.parse_args()
    report = Report("soak", options.output)
    with live.quiet():
        api = live.install()
        if not live.part("capture").gpu_available():
            raise SystemExit("live mode is measured with GPU capture, and this Blender can't draw")
        models = Path(live.profile.name, "models")
        subprocess.run([str(live.SERVER_PYTHON), "-c", MAKE_MODEL, str(models / MODEL)], check=True)
        with live.serving(
            "--models", str(models), "--log-level", "warning", program=("-c", SERVE, str(STORE), str(KNOWN))
        ) as server:
            soak(report, api, server.pid, options.repeat)
    return report.finish()


def soak(report: Report, api: ModuleType, server: int, frames: int) -> None:
    api.connect()
    live.scene(SIZE, STEPS, 60.0)
    settings = live.bpy.context.scene.scumble
    settings.model_id, settings.sampler, settings.guidance_scale = MODEL, "ddim", 1.0
    settings.width = settings.height = SIZE
    settings.num_inference_steps = STEPS
    painted = 0
    usages: dict[str, list[Usage]] = {}
    at: list[int] = []
    with api.live() as view:
        view.settle(300.0)  # the model is loaded
        processes = {"Blender": "self", "server": str(server), "worker": worker_of(server)}
        draw = on_surfaces(view)
        every, began = max(1, frames // SAMPLES), time.perf_counter()
        while painted < frames:
            live.turn(1.0)
            wait_for_picture(api, view)
            painted += 1
            if painted % DRAW_EVERY == 0:
                draw()
            if painted % TOLD_EVERY == 0:
                print(f"{painted} frames, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if painted % every == 0 and painted >= WARM_UP * frames:
                gc.collect()
                at.append(painted)
                for name, pid in processes.items():
                    usages.setdefault(name, []).append(usage_of(pid))
    api.disconnect()
    tell(report, at, usages, painted / (time.perf_counter() - began))


def wait_for_picture(api: ModuleType, view: object) -> None:
    pictures = view.pictures
    deadline = time.monotonic() + 120.0
    while view.pictures == pictures:
        api.step()
        time.sleep(live.PAUSE)
        if time.monotonic() > deadline:
            raise RuntimeError("no picture within two minutes")


def on_surfaces(view: object) -> Callable[[], None]:
    """Draws the newest picture as a window would: new textures each time, over the view and on the surfaces."""
    import gpu

    surface, overlay, capture = live.part("live.surface"), live.part("apply.overlay"), live.part("capture")
    target = gpu.types.GPUOffScreen(SIZE, SIZE, format="RGBA8")

    def draw() -> None:
        record = view.record
        camera = record.job.view.camera
        eye = (*np.linalg.inv(camera.view_matrix)[:3, 3], 1.0)
        seen = surface.View(camera.projection_matrix @ camera.view_matrix, eye, SIZE)
        depth = record.tensors[record.job.view.depth]
        with target.bind():
            paint = surface.SurfacePaint(camera, record.prepared.shown, depth, capture.drawn_surfaces())
            paint.draw(seen, overlay.Look(), lambda drawn: drawn.entry.matrix_world)
            overlay.make_texture(record.prepared.shown)

    return draw


def worker_of(server: int) -> str:
    """Process id of the server's worker: the child that uses the most memory."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
    return max(children, key=lambda pid: usage_of(pid).memory)


def usage_of(pid: str) -> Usage:
    facts = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Usage(int(facts["VmRSS"].split()[0]) * 1024, handles, int(facts["Threads"]))


def tell(report: Report, at: list[int], usages: dict[str, list[Usage]], rate: float) -> None:
    frames = f"{at[-1] - at[0]} frames after a warm-up of {at[0]}"
    for process, samples in usages.items():
        for item in fields(Usage):
            values = [getattr(usage, item.name) for usage in samples]
            slope = float(np.polyfit(at, values, 1)[0])
            note = (
                f"{frames}; {_words(values[0])} at first, {_words(max(values))} at most, {_words(values[-1])} at last"
            )
            if item.name == "memory":
                report.add(f"{process}: memory", slope, "bytes a frame", goal=BOUND, note=note)
            else:
                grown = max(0, min(values[-SAMPLES // 10 :]) - max(values[: SAMPLES // 10]))
                report.add(f"{process}: {item.name}, more than at first", grown, "", goal=0, note=note)
    report.add("pictures per second", rate, "/s", note=f"{SIZE} x {SIZE}, {STEPS} step, random weights")


def _words(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value > 1e5 else f"{math.floor(value)}"


if __name__ == "__main__":
    live.run(main)
