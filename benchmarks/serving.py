"""A real server process for benchmarks, with its records in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from scumble_shared.runtime import ServerRecord, read_records

__all__ = ["ServerProcess", "peak_memory", "serving", "worker_pid"]

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """log: the file its standard error goes to."""

    pid: int
    record: ServerRecord
    log: Path


@contextmanager
def serving(*arguments: str) -> Iterator[ServerProcess]:
    """``scumble serve`` with these arguments, entered when it listens, ended when left. Sets $SCUMBLE_HOME.

    This folder is on its import path, so ``--executor still:Still`` works.
    """
    with tempfile.TemporaryDirectory(prefix="scumble-benchmark-") as home:
        os.environ["SCUMBLE_HOME"] = home
        search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        log = Path(home) / "log"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "scumble_server.cli", "serve", "--exit-with-stdin", *arguments],
                env={**os.environ, "PYTHONPATH": search},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        assert process.stdin is not None, "piped"
        assert process.stdout is not None, "piped"
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"the server ended at once:\n{log.read_text(encoding='utf-8')}")
            record = next(record for record in read_records() if record.pid == process.pid)
            yield ServerProcess(process.pid, record, log)
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()


def worker_pid(server_pid: int) -> int:
    """Of the process that holds the engine: the largest the server has started."""
    children = psutil.Process(server_pid).children(recursive=True)
    return max(children, key=lambda child: child.memory_info().rss).pid


def peak_memory(pid: int) -> float:
    """MiB resident at most so far; where the system doesn't keep it, MiB resident now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    info = psutil.Process(pid).memory_info()
    return float(getattr(info, "peak_wset", info.rss)) / MIB
