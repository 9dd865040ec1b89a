"""The built-in model on this machine's CPU: load time, time per picture, peak memory.

Run in a fresh process, so that the peak is its own: ``python benchmarks/starter.py``. Both controls are on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from engine_cpu import Silent, peak_memory
from report import Report, parser

SECOND_GOALS = {256: 2.0, 512: 10.0}


def main() -> int:
    arguments = parser("The built-in model on the CPU.", repeat=3).parse_args()
    from scumble_server.engine.executor import EngineExecutor
    from scumble_shared.job import Control, GenerateJob

    report = Report("starter", arguments.output)
    executor = EngineExecutor(device="cpu")
    info = next(model for model in executor.capabilities().models if model.id == "starter")

    def job(size: int, seed: int) -> GenerateJob:
        return GenerateJob(
            "mossy stone at dusk", model=info.id, width=size, height=size, sampler=info.sampler, seed=seed,
            num_inference_steps=info.num_inference_steps, guidance_scale=info.guidance_scale,
            controls=(Control("depth", image="depth"), Control("normal", image="normal")),
        )  # fmt: skip

    def hints(size: int) -> dict[str, np.ndarray]:
        ramp = np.broadcast_to(np.linspace(0, 255, size).astype(np.uint8)[:, None, None], (size, size, 3)).copy()
        return {"depth": ramp, "normal": np.full((size, size, 3), (128, 128, 255), dtype=np.uint8)}

    begin = time.perf_counter()
    executor.run(job(64, 0), hints(64), Silent())
    report.add("load, and a first picture of 64²", time.perf_counter() - begin, "s", note="goal of the load alone: 2 s")
    for size, goal in SECOND_GOALS.items():
        executor.run(job(size, 0), hints(size), Silent())
        times = []
        for repeat in range(arguments.repeat):
            begin = time.perf_counter()
            executor.run(job(size, repeat + 1), hints(size), Silent())
            times.append(time.perf_counter() - begin)
        note = f"{info.num_inference_steps} steps, {info.sampler}, median of {len(times)}"
        report.add(f"{size}² at default steps", sorted(times)[len(times) // 2], "s", goal=goal, note=note)
    peak = peak_memory()
    if peak is not None:
        report.add("peak memory", peak, "MB", goal=2000.0)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
