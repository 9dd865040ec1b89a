"""The engine on this machine's CPU with the built-in model: against plain diffusers, start-up, memory.

Both sides make the same image (see tests/server/engine/test_equals_diffusers.py) from the same files in the same
process, in turns, so that the ratio holds whatever else the machine does. Diffusers' pipeline is as it comes.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from report import Report, parser

PROMPT = "a mossy brick wall at dusk"
CONTROLS = ("depth", "normal")
APPROXIMATE = ("balanced", "draft")
GOAL = 1 / 1.3
"""Of diffusers' time at equal output."""


class Silent:
    """Hooks of a job nobody watches."""

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        return

    def wants_preview(self) -> bool:
        return False

    def preview(self, image: Any, step: int, steps: int) -> None:
        return

    def check_cancelled(self) -> None:
        return


class Watched(Silent):
    def wants_preview(self) -> bool:
        return True


def start_up(size: int, results: Any) -> None:
    """In a fresh process: from nothing to ready, a first job, and the most memory it took."""
    begin = time.perf_counter()
    from scumble_server.engine.executor import EngineExecutor

    imported = time.perf_counter()
    executor = EngineExecutor(device="cpu")
    model = executor._resident.model(executor._index.model("starter"), Silent())
    for position, entry in enumerate(model.entry.controlnets.values()):
        executor._resident.controlnet(entry, model, Silent(), position)
    loaded = time.perf_counter()
    executor.warm_up(Silent())
    ready = time.perf_counter()
    executor.run(first_job(executor, size), {"image": hint(size)}, Silent())
    done = time.perf_counter()
    results.put((imported - begin, loaded - imported, ready - loaded, done - ready, peak_memory()))


def peak_memory() -> float | None:
    """Megabytes of this process, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def hint(size: int) -> Any:
    """A control image: a smooth ramp."""
    ramp = np.linspace(0, 255, size).round().astype(np.uint8)
    return np.broadcast_to(ramp[:, None, None], (size, size, 3)).copy()


def first_job(executor: Any, size: int, **changes: Any) -> Any:
    from scumble_shared.job import Control, GenerateJob

    info = executor.capabilities().models[0]
    settings = {
        "model": info.id,
        "width": size,
        "height": size,
        "sampler": info.sampler,
        "num_inference_steps": info.num_inference_steps,
        "guidance_scale": info.guidance_scale,
        "controls": tuple(Control(kind, image="image") for kind in CONTROLS),
    }
    return GenerateJob(PROMPT, **{**settings, **changes})


def contestants(size: int) -> tuple[dict[str, Callable[[], Any]], Any]:
    """By name: ours, diffusers', ours with previews and in less exact qualities, all in float32, and ours as it runs
    here; and the job."""
    import torch
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    from PIL import Image
    from scumble_server.engine.device import Device
    from scumble_server.engine.executor import EngineExecutor
    from scumble_server.engine.resident import ResidentModels
    from scumble_server.engine.samplers import TABLE

    as_it_runs, executor = EngineExecutor(device="cpu"), EngineExecutor(device="cpu")
    executor._device = Device(torch.device("cpu"), torch.float32, "CPU")
    executor._resident = ResidentModels(executor._device)
    job = first_job(executor, size)
    image = hint(size)
    model = executor._resident.model(executor._index.model(job.model), Silent())
    scheduler, settings = TABLE[job.sampler]
    nets = model.entry.controlnets
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        model.entry.path,
        controlnet=[ControlNetModel.from_pretrained(nets[kind].path, dtype=torch.float32) for kind in CONTROLS],
        scheduler=scheduler.from_config(model.scheduler_config, **settings),
        dtype=torch.float32,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def ours(quality: str = "exact") -> Any:
        return executor.run(replace(job, quality=quality), {"image": image}, Silent()).tensors["image/0"]

    def watched() -> Any:
        return executor.run(job, {"image": image}, Watched()).tensors["image/0"]

    def shipped() -> Any:
        return as_it_runs.run(job, {"image": image}, Silent()).tensors["image/0"]

    def theirs() -> Any:
        images = pipeline(
            prompt=PROMPT,
            image=[Image.fromarray(image)] * len(CONTROLS),
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            generator=torch.Generator().manual_seed(job.seed),
            output_type="np",
        ).images
        return (images[0] * 255).round().astype(np.uint8)

    precision = str(as_it_runs._device.dtype).removeprefix("torch.")
    rivals = {"ours": ours, "diffusers": theirs, "with previews": watched, f"ours in {precision}, this CPU's": shipped}
    return {**rivals, **{quality: partial(ours, quality) for quality in APPROXIMATE}}, job


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    arguments = parser("The engine on the CPU against plain diffusers.", repeat=5)
    arguments.add_argument("--size", type=int, default=512, help="side of the square image (default 512)")
    options = arguments.parse_args()
    report = Report("engine_cpu", options.output)

    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=start_up, args=(options.size, results))
    child.start()
    imported, loaded, warmed, first, peak = results.get()
    child.join()
    report.add("import of the engine", imported, "s", note="fresh process")
    report.add("model and ControlNets loaded", loaded, "s", goal=2.0)
    report.add("warm-up", warmed, "s")
    report.add("first job", first, "s", note=f"{options.size} x {options.size}")
    if peak is not None:
        report.add("peak memory", peak, "MB", goal=2000.0)

    rivals, job = contestants(options.size)
    pictures = {name: work().astype(int) for name, work in rivals.items()}
    difference = np.abs(pictures["ours"] - pictures["diffusers"])
    report.add("largest difference to diffusers' image", float(difference.max()), "of 255", goal=1.0)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(options.repeat):
        for name, work in rivals.items():
            times[name].append(timed(work))
    note = f"{job.num_inference_steps} steps {job.sampler}, two ControlNets, {options.size} x {options.size}"
    for name, seconds in times.items():
        report.add(f"a job, {name}", statistics.median(seconds), "s", note=f"median of {options.repeat}; {note}")
    for name in APPROXIMATE:
        ratios = [a / b for a, b in zip(times[name], times["ours"], strict=True)]
        report.add(f"{name} / ours", statistics.median(ratios), "x", note="median of the pairs' ratios")
        deviation = np.abs(pictures[name] - pictures["ours"]).mean()
        report.add(f"{name}: mean difference from the exact picture", float(deviation), "of 255")
    for name, goal in (("ours", GOAL), ("with previews", 1.2)):
        ratios = [a / b for a, b in zip(times[name], times["diffusers"], strict=True)]
        report.add(f"{name} / diffusers", statistics.median(ratios), "x", goal=goal, note="median of the pairs' ratios")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
