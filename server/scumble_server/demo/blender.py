"""Runs the demo's Blender side as a process of its own and passes on what it reports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

__all__ = ["MARK", "REPOSITORY", "find_blender", "run_in_blender"]

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = REPOSITORY / "blender_addon" / "demo.py"
MARK = "@scumble "
"""Lines of the Blender process that start so carry a report as JSON; all others are Blender's own chatter."""


def find_blender() -> Path:
    """The clone's own Blender environments, newest first, then a Blender on PATH."""
    executable = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    for folder in sorted(REPOSITORY.glob(".venv-blender-*"), reverse=True):
        if (folder / executable).exists():
            return folder / executable
    if found := shutil.which("blender"):
        return Path(found)
    raise ScumbleError(
        ErrorCode.UNSUPPORTED,
        "no Blender was found",
        field="--blender",
        remedy=Remedy("Give the path of Blender 4.2 or newer with --blender, or run `make setup` first."),
    )


def run_in_blender(blender: Path, arguments: list[str]) -> Iterator[dict[str, object]]:
    """Yields each report of the Blender side. Raises ScumbleError with Blender's last words if it fails."""
    if not SCRIPT.exists():
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            "the demo needs the source tree",
            remedy=Remedy("Clone the repository and run `make demo` there."),
        )
    with tempfile.TemporaryDirectory(prefix="scumble-demo-") as profile:
        # An empty profile: the artist's own preferences and extensions stay out of it.
        environment = {**os.environ, "BLENDER_USER_RESOURCES": profile, "PYTHONUNBUFFERED": "1"}
        environment.pop("PYTHONPATH", None)
        process = subprocess.Popen(
            _command(blender, arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        chatter: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    yield json.loads(line[len(MARK) :])
                else:
                    chatter = [*chatter[-19:], line.rstrip()]
        finally:
            if process.poll() is None:
                process.terminate()
            status = process.wait()
    if status:
        raise ScumbleError(
            ErrorCode.INTERNAL, f"Blender ended with status {status}. Its last words:\n" + "\n".join(chatter)
        )


def _command(blender: Path, arguments: list[str]) -> list[str]:
    if "python" in blender.name:
        return [str(blender), str(SCRIPT), "--", *arguments]
    return [str(blender), "--background", "--factory-startup", "--python", str(SCRIPT), "--", *arguments]
