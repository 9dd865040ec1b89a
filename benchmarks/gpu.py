"""The engine beside plain diffusers on this machine's GPU: ``python benchmarks/gpu.py``.

Models of exact published sizes with random weights (published.py), since speed doesn't depend on training. In one
process and in turns: diffusers as it is, diffusers with ``torch.compile``, and our engine as the server runs it. Beside
each time stands the least the arithmetic alone could take on this GPU (the floor), and which part of the GPU's
arithmetic was used (MFU). Every measurement is kept in ``<output>/gpu/`` as soon as it is made: when ``--minutes`` are
over the program ends with status 3, and started again it goes on where it was.

``--tiny`` rehearses all of it on any machine in a minute, with models a few channels wide.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from engine_cpu import Silent
from gpu_plot import plot
from report import Report, machine, parser, quantile

PROMPT = "a mossy brick wall at dusk"
SURE, PATIENCE = 5, 20.0
"""Fewest repetitions, and seconds after which no more are made."""

PEAKS: Mapping[str, float] = {"H100": 790e12, "H200": 790e12, "A100": 312e12, "4090": 330e12}
"""Part of a GPU's name -> floating point operations per second that its 16-bit matrix units really reach."""

PICTURES = 4
"""Control images that take turns: as in live mode, no two frames show the same."""

PLAIN, COMPILED, OURS = "diffusers", "diffusers, compiled", "Scumble"
NOT_YET = 3
"""Exit status: time is over, and there is more to do."""


@dataclass(frozen=True, slots=True)
class Workload:
    """goal: milliseconds on one H100. controls: kinds. union: by one ControlNet for all. small: decoded by the small
    autoencoder."""

    name: str
    title: str
    model: str
    steps: int
    guidance: float
    controls: tuple[str, ...] = ("depth", "normal")
    union: bool = False
    small: bool = False
    goal: float | None = None

    @property
    def side(self) -> int:
        return 512 if self.model == "sd15" else 1024


WORKLOADS = (
    Workload("sd15-1", "SD 1.5 512², 2 ControlNets, 1 step, small decoder", "sd15", 1, 1.0, small=True, goal=9.0),
    Workload("sd15-4", "SD 1.5 512², 2 ControlNets, 4 steps, small decoder", "sd15", 4, 1.0, small=True, goal=27.0),
    Workload("sd15-20", "SD 1.5 512², 2 ControlNets, 20 steps, guided", "sd15", 20, 7.0, goal=290.0),
    Workload("sdxl-4", "SDXL 1024², Union, 4 steps, small decoder", "sdxl", 4, 1.0, union=True, small=True, goal=141.0),
    Workload("sdxl-30", "SDXL 1024², 2 ControlNets, 30 steps, guided", "sdxl", 30, 7.0, goal=2660.0),
    Workload("sd35-28", "SD 3.5 medium 1024², 1 ControlNet, 28 steps, guided", "sd35-medium", 28, 4.5, ("depth",)),
)
APPROXIMATE = ("balanced", "draft")
"""Qualities measured beside "exact" on the workload below."""

APPROXIMATED = "sd15-20"
TEXTURE_GOAL = 3.0
FASTER_GOAL = 2.5
"""How many times as fast as plain diffusers, on the workload below."""

COMPARED = "sd15-4"
TOLERANCE = 2.0
"""Mean difference in levels of 255 between the fast path's picture and the plain one's: graphs change nothing, but
compiled kernels round elsewhere, in 16 bits."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one contestant at one workload. seconds: each repetition's. operations: floating point, of one job, 0 where
    they weren't counted. difference: mean, in levels of 255, from the picture it should be; None if there is none.
    memory: most bytes on the GPU. note: what else is to be said."""

    workload: str
    contestant: str
    seconds: tuple[float, ...]
    operations: float = 0.0
    difference: float | None = None
    memory: int = 0
    note: str = ""


Paint = Callable[[int], np.ndarray]
"""One job with the given control image; its picture."""


class Notebook:
    """What was measured, kept in a folder; and how much time is left."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self._end = time.monotonic() + 60.0 * minutes
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, workload: str, contestant: str) -> Path:
        return self.folder / f"{workload}.{contestant.replace(', ', '-')}.json"

    def has(self, workload: str, contestant: str) -> bool:
        return self.path(workload, contestant).exists()

    def add(self, result: Result) -> None:
        text = json.dumps(asdict(result), indent=1)
        self.path(result.workload, result.contestant).write_text(text + "\n", encoding="utf-8")
        milliseconds = statistics.median(result.seconds) * 1e3
        print(f"{result.workload}: {result.contestant}: {milliseconds:.2f} ms {result.note}", flush=True)

    def results(self) -> dict[tuple[str, str], Result]:
        found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("*.json"))]
        results = [Result(**{**values, "seconds": tuple(values["seconds"])}) for values in found]
        return {(result.workload, result.contestant): result for result in results}

    def check_time(self) -> None:
        """Raises TimeoutError when it is over."""
        if time.monotonic() > self._end:
            raise TimeoutError


def main() -> int:
    arguments = parser(__doc__ or "", repeat=20)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--minutes", type=float, default=8.5, help="begin nothing after these (default 8.5)")
    arguments.add_argument("--tiny", action="store_true", help="rehearse with models a few channels wide")
    arguments.add_argument("--only", default="", metavar="NAME", help="one model: sd15, sdxl or sd35-medium")
    options = arguments.parse_args()
    import torch

    if not torch.cuda.is_available() and not options.tiny:
        raise SystemExit("no CUDA device is here; --tiny rehearses on a processor, --help tells more")
    notebook = Notebook(options.output / ("gpu-tiny" if options.tiny else "gpu"), options.minutes)
    status = 0
    try:
        for model in dict.fromkeys(workload.model for workload in WORKLOADS):
            if options.only in ("", model):
                measure(model, notebook, options.repeat, options.tiny)
    except TimeoutError:
        print("time is over; the same command goes on from here", flush=True)
        status = NOT_YET
    return tell(notebook, options) or status


# --- measuring --------------------------------------------------------------------------------------


def measure(model: str, notebook: Notebook, repeat: int, tiny: bool) -> None:
    """All that isn't in the notebook yet of one model's workloads."""
    from published import MODELS, SMALL, write_small_autoencoder

    workloads = [workload for workload in WORKLOADS if workload.model == model]
    wanted = [(workload.name, name) for workload in workloads for name in (PLAIN, COMPILED, *qualities(workload))]
    if all(notebook.has(*one) for one in wanted) and (model != "sd15" or notebook.has("texture", OURS)):
        return
    notebook.check_time()
    with tempfile.TemporaryDirectory(prefix="scumble-gpu-") as parent:
        folder = Path(parent)
        MODELS[model](folder / model, tiny)
        if model in SMALL:
            write_small_autoencoder(folder / SMALL[model], tiny)
        for contestant in (PLAIN, COMPILED):
            if not all(notebook.has(workload.name, contestant) for workload in workloads):
                measure_diffusers(contestant, workloads, folder, notebook, repeat, tiny)
                tidy()
        measure_ours(workloads, folder, notebook, repeat, tiny)
        tidy()


def qualities(workload: Workload) -> tuple[str, ...]:
    more = APPROXIMATE if workload.name == APPROXIMATED else ()
    return (OURS, *(f"{OURS}, {quality}" for quality in more))


def measure_diffusers(
    contestant: str, workloads: list[Workload], folder: Path, notebook: Notebook, repeat: int, tiny: bool
) -> None:
    from rivals import Pipelines
    from torch.utils.flop_counter import FlopCounterMode

    pipelines = Pipelines(folder, tiny)
    if contestant == COMPILED:
        pipelines.compile()
    for workload in workloads:
        if notebook.has(workload.name, contestant):
            continue
        notebook.check_time()
        paint = pipelines.painter(workload, side(workload, tiny), PROMPT)
        note, operations = "", 0.0
        if contestant == PLAIN:
            with FlopCounterMode(display=False) as counter:
                picture = paint(0)
            operations = float(counter.get_total_flops())
            np.save(notebook.folder / f"{workload.name}.npy", picture)
        else:
            note = f"{pipelines.mode}; first picture after {clock(partial(paint, 0)):.0f} s"
        with most_memory() as memory:
            seconds = repeated(paint, repeat)
        notebook.add(Result(workload.name, contestant, seconds, operations, memory=memory(), note=note))


def measure_ours(workloads: list[Workload], folder: Path, notebook: Notebook, repeat: int, tiny: bool) -> None:
    from scumble_server.engine.executor import EngineExecutor

    executor = EngineExecutor((folder,), compiles=True)
    for workload in workloads:
        missing = [name for name in qualities(workload) if not notebook.has(workload.name, name)]
        if not missing:
            continue
        notebook.check_time()
        reference = plain_picture(executor, workload, side(workload, tiny))
        for name in missing:
            notebook.check_time()
            paint = our_painter(executor, workload, side(workload, tiny), name.partition(", ")[2] or "exact")
            ready = clock(partial(warm_up, executor, workload, paint))
            with most_memory() as memory:
                seconds = repeated(paint, repeat)
            picture = paint(0)
            note = f"ready after {ready:.0f} s; {beside_diffusers(notebook, workload, picture)}"
            difference = distance(picture, reference)
            notebook.add(Result(workload.name, name, seconds, 0.0, difference, memory(), note))
    if workloads[0].model == "sd15" and not notebook.has("texture", OURS):
        notebook.check_time()
        measure_texture(executor, notebook, repeat, tiny)


def plain_picture(executor: Any, workload: Workload, size: int) -> np.ndarray:
    """Ours in exact quality, without graphs and compiled kernels: those of an earlier workload may be there already."""
    paint = our_painter(executor, workload, size, "exact")
    paint(0)  # so that the model is loaded
    model = loaded_model(executor, workload)
    kept = model.graphs, model.compiler
    model.graphs, model.compiler = None, None
    try:
        return paint(0)
    finally:
        model.graphs, model.compiler = kept


def loaded_model(executor: Any, workload: Workload) -> Any:
    return executor._resident.model(executor._index.model(workload.model), Silent())


def our_painter(executor: Any, workload: Workload, size: int, quality: str) -> Paint:
    from scumble_shared.job import Control, GenerateJob

    model = next(info for info in executor.capabilities().models if info.id == workload.model)
    union = "union" if workload.union else ""
    job = GenerateJob(
        PROMPT,
        model=model.id,
        width=size,
        height=size,
        sampler="euler",
        num_inference_steps=workload.steps,
        guidance_scale=workload.guidance,
        controls=tuple(Control(kind, model=union, image=f"{kind}") for kind in workload.controls),
        quality=quality,
        decoder="small" if workload.small else "full",
    )

    def paint(turn: int) -> np.ndarray:
        images = {kind: hint(size, turn, place) for place, kind in enumerate(workload.controls)}
        image: np.ndarray = executor.run(job, images, Silent()).tensors["image/0"]
        return image

    return paint


def warm_up(executor: Any, workload: Workload, paint: Paint) -> None:
    """Until everything is recorded, and compiled where there is what compiles."""
    from scumble_server.engine.fast.compiling import WORTH_IT

    compiler = loaded_model(executor, workload).compiler
    for turn in range(2 + (WORTH_IT if compiler is not None else 0) // workload.steps):
        paint(turn)
    if compiler is not None:
        compiler.wait()
    for turn in range(3):
        paint(turn)


def measure_texture(executor: Any, notebook: Notebook, repeat: int, tiny: bool) -> None:
    """Eight views of SD 1.5, eight steps, into 2K: all stages."""
    from scumble_server.texturing.shapes import smooth
    from scumble_shared.camera import pack_matrix
    from scumble_shared.job import Control, MeshRef, TextureJob

    data = np.load(Path(__file__).parent.parent / "tests/server/texturing/data/suzanne.npz")
    shape = smooth(data["vertices"], data["triangles"].astype(np.int32), data["uvs"])
    tensors = {"v": shape.vertices, "t": shape.triangles, "n": shape.normals, "u": shape.uvs}
    job = TextureJob(
        PROMPT,
        (MeshRef("Suzanne", 1, pack_matrix(np.eye(4)), "v", "t", "n", "u"),),
        model="sd15",
        sampler="euler",
        num_inference_steps=8,
        guidance_scale=1.0,
        controls=(Control("depth"), Control("normal")),
        view_size=64 if tiny else 512,
        texture_size=128 if tiny else 2048,
    )
    outputs: list[Any] = []

    def paint(turn: int) -> np.ndarray:
        outputs[:] = [executor.run(job, tensors, Silent())]
        texture: np.ndarray = outputs[0].tensors["texture/0"] if "texture/0" in outputs[0].tensors else np.zeros(1)
        return texture

    for turn in range(3):
        paint(turn)
    with most_memory() as memory:
        seconds = repeated(paint, repeat)
    facts = outputs[0].provenance
    stages = ", ".join(f"{stage} {taken:.2f} s" for stage, taken in facts["timings"].items())
    note = f"{len(facts['views'])} views; {stages}"
    notebook.add(Result("texture", OURS, seconds, memory=memory(), note=note))


# --- tools ------------------------------------------------------------------------------------------


def side(workload: Workload, tiny: bool) -> int:
    return 64 if tiny else workload.side


def hint(size: int, turn: int, place: int) -> np.ndarray:
    """A control image, another one each turn: a ramp with waves."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    waves = 0.5 + 0.25 * np.sin(6.0 * (turn % PICTURES + 1) * columns + place) + 0.25 * (rows - 0.5)
    return np.repeat((255.0 * waves).round().astype(np.uint8)[..., None], 3, axis=2)


def clock(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def repeated(paint: Paint, repeat: int) -> tuple[float, ...]:
    """Seconds of each; every picture arrives in the computer's own memory, so the GPU is done with it."""
    paint(0)
    paint(1)
    seconds: list[float] = []
    while len(seconds) < repeat and (len(seconds) < SURE or sum(seconds) < PATIENCE):
        seconds.append(clock(partial(paint, len(seconds))))
    return tuple(seconds)


@contextmanager
def most_memory() -> Iterator[Callable[[], int]]:
    """Most bytes on the GPU since it began; 0 without one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield lambda: int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


def tidy() -> None:
    import torch

    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in levels."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def beside_diffusers(notebook: Notebook, workload: Workload, picture: np.ndarray) -> str:
    path = notebook.folder / f"{workload.name}.npy"
    if not path.exists():
        return ""
    return f"{distance(picture, np.load(path)):.2f} levels from diffusers' picture"


# --- telling ----------------------------------------------------------------------------------------


def tell(notebook: Notebook, options: argparse.Namespace) -> int:
    """Table, JSON and plot of what there is; 1 if a goal was missed. Goals are those of one H100, so for others and for
    rehearsals there are none."""
    results, gpu = notebook.results(), gpu_name()
    peak = next((value for name, value in PEAKS.items() if name in gpu), None)
    judged = "H100" in gpu and not options.tiny
    report = Report("gpu_tiny" if options.tiny else "gpu", options.output)
    for workload in WORKLOADS:
        told = [(name, results.get((workload.name, name))) for name in (PLAIN, COMPILED, *qualities(workload))]
        operations = next((result.operations for _, result in told if result and result.operations), 0.0)
        floor = operations / peak if peak else 0.0
        if floor:
            report.add(f"{workload.title}: floor", floor * 1e3, "ms", note=f"{operations / 1e12:.2f} TFLOP")
        for name, result in told:
            if result is not None:
                goal = workload.goal if judged and name == OURS else None
                report.add(
                    f"{workload.title}: {name}", milliseconds(result), "ms", goal=goal, note=words(result, floor)
                )
                if name == OURS and result.difference is not None:
                    what = f"{workload.title}: graphs and kernels, from the plain path"
                    goal = None if options.tiny else TOLERANCE
                    report.add(what, result.difference, "levels of 255", goal=goal, note="mean")
    add_ratio(report, results, judged)
    if texture := results.get(("texture", OURS)):
        seconds = statistics.median(texture.seconds)
        goal = TEXTURE_GOAL if judged else None
        report.add("texture of 8 views, 8 steps, 2K, all stages", seconds, "s", goal=goal, note=words(texture, 0.0))
    bars = {
        workload.title: {
            name: milliseconds(results[workload.name, name])
            for name in (PLAIN, COMPILED, *qualities(workload))
            if (workload.name, name) in results
        }
        for workload in WORKLOADS
    }
    title = f"{gpu}, median milliseconds a picture"
    (options.output / f"{report.name}.svg").write_text(plot(title, bars), encoding="utf-8")
    (notebook.folder / "machine.txt").write_text(json.dumps({**machine(), "gpu": gpu}) + "\n", encoding="utf-8")
    return report.finish()


def add_ratio(report: Report, results: Mapping[tuple[str, str], Result], judged: bool) -> None:
    """The other way round, so that less is better as everywhere: our part of diffusers' time."""
    plain, ours = results.get((COMPARED, PLAIN)), results.get((COMPARED, OURS))
    if plain is not None and ours is not None:
        part = milliseconds(ours) / milliseconds(plain)
        goal = 1.0 / FASTER_GOAL if judged else None
        report.add(
            f"{COMPARED}: Scumble's part of diffusers' time", part, "", goal=goal, note=f"{1 / part:.2f}x as fast"
        )


def milliseconds(result: Result) -> float:
    return statistics.median(result.seconds) * 1e3


def words(result: Result, floor: float) -> str:
    parts = [f"median of {len(result.seconds)}, 95 % within {quantile(result.seconds, 0.95) * 1e3:.4g} ms"]
    if floor:
        parts.append(f"MFU {100 * floor / statistics.median(result.seconds):.0f} %")
    if result.memory:
        parts.append(f"{result.memory / 1e9:.1f} GB")
    if result.difference is not None and result.contestant != OURS:
        parts.append(f"{result.difference:.1f} levels of 255 from exact")
    return "; ".join([*parts, *filter(None, [result.note])])


def gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    raise SystemExit(main())
