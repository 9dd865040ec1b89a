"""From nothing to ready: how long until somebody can connect, and until the first picture needn't wait for the model.

python benchmarks/cold_start.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

from report import Report, parser
from scumble_server.net.blocking_client import connect
from scumble_shared.job import GenerateJob
from scumble_shared.runtime import ServerRecord
from serving import peak_memory, serving, worker_pid

HANDSHAKE_GOAL_MS = 1500.0
POLL_SECONDS = 0.02
FIRST_JOB = GenerateJob("a wall", width=512, height=512, num_inference_steps=4)


def worker_state(record: ServerRecord) -> str:
    url = record.url.replace("ws://", "http://") + "/healthz"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {record.token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["worker"])


def start_once() -> dict[str, float]:
    """Seconds from the start of the process, and MiB."""
    begin = time.perf_counter()
    with serving() as server:
        marks = {"listens": time.perf_counter() - begin}
        with connect(server.record.url, server.record.token) as client:
            marks["handshake"] = time.perf_counter() - begin
            while worker_state(server.record) != "ready":
                time.sleep(POLL_SECONDS)
            marks["model ready"] = time.perf_counter() - begin
            before = time.perf_counter()
            client.run_job(FIRST_JOB)
            marks["first job"] = time.perf_counter() - before
            before = time.perf_counter()
            client.run_job(FIRST_JOB)
            marks["second job"] = time.perf_counter() - before
        marks["server MiB"] = peak_memory(server.pid)
        marks["worker MiB"] = peak_memory(worker_pid(server.pid))
    return marks


def command_seconds(*arguments: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "scumble_server.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> int:
    options = parser("Start-up times of the server.", repeat=3).parse_args()
    start_once()  # writes the seeded model, fills the file cache
    runs = [start_once() for _ in range(options.repeat)]
    report = Report("cold_start", options.output)
    report.add_times("scumble --help", [command_seconds("--help") for _ in range(options.repeat)])
    report.add_times("process start to listening", [run["listens"] for run in runs])
    report.add_times("process start to handshake", [run["handshake"] for run in runs], goal_ms=HANDSHAKE_GOAL_MS)
    report.add_times("process start to model ready", [run["model ready"] for run in runs], note="built-in model")
    report.add_times("first job after that", [run["first job"] for run in runs], note="512 x 512, 4 steps")
    report.add_times("second job", [run["second job"] for run in runs], note="the same")
    for who in ("server", "worker"):
        peak = max(run[f"{who} MiB"] for run in runs)
        report.add(f"peak memory of the {who} process", peak, "MiB")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
