"""Outside of Blender's window: the extension's file, a server, and a scenario run to its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import gui_root  # noqa: E402 - a script of the clone, not of a package

__all__ = ["SUITES", "Server", "furnish", "play"]

SUITES = gui_root.SUITES
PATIENCE = 1100.0
"""Seconds for a scenario."""


def furnish(folder: Path) -> None:
    """Empties a folder that both sides see, and puts the extension and the scenarios into it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    built = subprocess.run(
        [sys.executable, "-m", "scumble_server.cli", "build-addon"], check=True, capture_output=True, text=True
    )
    shutil.copy(built.stdout.strip(), folder / "scumble.zip")
    shutil.copytree(REPOSITORY / "tests" / "gui", folder / "gui", ignore=shutil.ignore_patterns("__pycache__"))


class Server:
    """A server that Blender finds by its record in ``SCUMBLE_HOME``. Scenarios may ask for what it can do."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        command = [sys.executable, "-m", "scumble_server.cli", "serve", "--port", "0", "--exit-with-stdin"]
        self._process = subprocess.Popen(
            [*command, *self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if "ready" not in self._process.stdout.readline():
            raise RuntimeError("the server ended at once")

    def stop(self) -> None:
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """As a crash would."""
        self._end(subprocess.Popen.kill)

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)
            process.wait(60)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def play(shared: Path, name: str, server: Server, size: str = "1280x800") -> dict[str, object]:
    """Runs a scenario to its end and returns the facts it noted. Does what it asks for meanwhile.

    shared: a furnished folder, in one named as the suite whose Blender is to run.
    """
    root = gui_root.setup(shared.parent.name)
    script = f"{gui_root.SHARED}/gui/scenarios/{name}.py"
    command = gui_root.blender_command(root, shared, script, [gui_root.SHARED], size)
    report, log = shared / "report.json", shared / "blender.log"
    report.unlink(missing_ok=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        status = _wait(process, shared, server)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert report.exists(), log.read_text(encoding="utf-8", errors="replace")[-3000:]
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["problem"] is None, told["problem"]
    words = log.read_text(encoding="utf-8", errors="replace")
    assert status == 0, words[-3000:]
    assert "Traceback" not in words, words[-3000:]
    return told["facts"]


def _wait(process: subprocess.Popen[bytes], shared: Path, server: Server) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(0.2)
        for asked in sorted(shared.glob("*.ask")):
            getattr(server, asked.stem.split("-", 1)[1])()
            asked.rename(asked.with_suffix(".done"))
    raise TimeoutError("the scenario doesn't end")
