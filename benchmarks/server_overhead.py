"""What the server adds to the engine: from the request's first byte to the result's last, less the engine's own time.

    python benchmarks/server_overhead.py

A 512 x 512 job with depth and normals. Measured over the real process and a real socket, once with an executor
that costs nothing (so that nothing hides in the noise of a long generation) and once with the built-in model.
"""

from __future__ import annotations

import json
import secrets
import time

import numpy as np
from report import Report, parser
from scumble_server.net.blocking_client import BlockingClient, connect
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.job import Control, GenerateJob, View
from scumble_shared.tensor import AnyArray, Digest, digest_of
from serving import peak_memory, serving, worker_pid

SIZE = 512
GOAL_MS = 8.0
CAMERA = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(0.7, 1.0, 0.1, 100.0), SIZE, SIZE, 0.1, 100.0)


def request(
    seed: int, buffers_seed: int, steps: int, *, once: bool = False
) -> tuple[GenerateJob, dict[Digest, AnyArray]]:
    """A job as the add-on sends it. Equal ``buffers_seed``, equal geometry. once: as live mode sends its drafts."""
    random = np.random.default_rng(buffers_seed)
    depth = random.uniform(1.0, 9.0, (SIZE, SIZE)).astype(np.float16)
    normal = random.normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float16)
    if once:
        depth, normal = depth.astype(np.float32), np.rint(128.0 + 127.0 * normal).astype(np.uint8)
    tensors = {f"once:{secrets.token_hex(16)}:0" if once else digest_of(array): array for array in (depth, normal)}
    job = GenerateJob(
        "a wall",
        width=SIZE,
        height=SIZE,
        num_inference_steps=steps,
        seed=seed,
        controls=(Control("depth"), Control("normal")),
        view=View(CAMERA, *tensors),
    )
    return job, tensors


def overhead(client: BlockingClient, job: GenerateJob, tensors: dict[Digest, AnyArray]) -> float:
    """Seconds of one job that aren't the engine's."""
    begin = time.perf_counter()
    result = client.run_job(job, tensors)
    wall = time.perf_counter() - begin
    return wall - float(json.loads(result.provenance)["engine_seconds"])


def measure(client: BlockingClient, repeat: int, steps: int, *, fresh: bool, once: bool = False) -> list[float]:
    """fresh: new geometry for every job, which has to be uploaded. once: under names for once."""
    seconds = []
    for number in range(repeat + 3):
        job, tensors = request(seed=number, buffers_seed=number if fresh else 0, steps=steps, once=once)
        seconds.append(overhead(client, job, tensors))
    return seconds[3:]


def main() -> int:
    arguments = parser("The server's own time per job.", repeat=50)
    arguments.add_argument("--engine-repeat", type=int, default=5, help="jobs with the built-in model, 0 for none")
    options = arguments.parse_args()
    report = Report("server_overhead", options.output)
    with (
        serving("--executor", "still:Still") as server,
        connect(server.record.url, server.record.token) as client,
    ):
        for fresh, once, words in (
            (False, False, "geometry unchanged"),
            (True, False, "geometry uploaded"),
            (True, True, "geometry uploaded as a draft of live mode's"),
        ):
            seconds = measure(client, options.repeat, 20, fresh=fresh, once=once)
            report.add_times(f"overhead, {words}", seconds, goal_ms=GOAL_MS, note="executor that costs nothing")
        peak = peak_memory(server.pid)
        report.add("peak memory of the server process", peak, "MiB", note="it keeps the uploads and results")
    if options.engine_repeat:
        with serving() as server, connect(server.record.url, server.record.token) as client:
            seconds = measure(client, options.engine_repeat, 2, fresh=True)
            report.add_times("overhead, geometry uploaded", seconds, goal_ms=GOAL_MS, note="built-in model")
            peak = peak_memory(worker_pid(server.pid))
            report.add("peak memory of the worker process", peak, "MiB", note="built-in model")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
