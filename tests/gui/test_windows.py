"""Scenarios in real Blender windows under Xvfb: ``make test-gui``. The pictures are kept in gui_output/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import gui_root  # noqa: E402 - a script of the clone, not of a package

OUTPUT = REPOSITORY / "gui_output"


@pytest.fixture(params=gui_root.SUITES)
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that both sides see, with the extension in it."""
    folder = OUTPUT / request.param
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    monkeypatch.setenv("SCUMBLE_HOME", str(folder / "scumble"))
    built = subprocess.run(
        [sys.executable, "-m", "scumble_server.cli", "build-addon"], check=True, capture_output=True, text=True
    )
    shutil.copy(built.stdout.strip(), folder / "scumble.zip")
    shutil.copytree(REPOSITORY / "tests" / "gui", folder / "gui", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def server(shared: Path) -> Iterator[None]:
    """A server that Blender finds by its record."""
    command = [sys.executable, "-m", "scumble_server.cli", "serve", "--port", "0", "--exit-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield
        process.terminate()


def play(shared: Path, name: str) -> dict[str, object]:
    """Runs a scenario to its end and returns the facts it noted."""
    root = gui_root.setup(shared.name)
    script = f"{gui_root.SHARED}/gui/scenarios/{name}.py"
    display = 70 + gui_root.SUITES.index(shared.name)
    command = gui_root.blender_command(root, shared, display, script, [gui_root.SHARED])
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    report = shared / "report.json"
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["problem"] is None, told["problem"]
    return told["facts"]


@pytest.mark.timeout(1200)
def test_an_artists_first_minute(shared: Path, server: None) -> None:
    facts = play(shared, "first_minute")
    assert facts["generate"] == "done"
    assert facts["materials"]
    assert facts["materials_after_undo"] == []


@pytest.mark.timeout(1200)
def test_texturing_all_around(shared: Path, server: None) -> None:
    facts = play(shared, "texture_all")
    assert facts["coverage"] > 0.9
    assert facts["forming"]
    assert facts["materials_while_forming"] == 0
    assert facts["materials"] == ["Scumble Suzanne"]
    assert facts["materials_after_undo"] == []


@pytest.mark.timeout(1200)
def test_live_mode_follows_the_viewport(shared: Path, server: None) -> None:
    facts = play(shared, "live")
    assert facts["status"] == "At rest, in full quality"
    assert facts["jobs_while_still"] == 0
    assert facts["rests_while_still"] is True
    assert facts["jobs_of_a_turn_of_40_parts"] < 40
    assert facts["windows"] == 2
    assert facts["blocks_as_before"] is True
    assert facts["on_after_new"] is False
    assert facts["handlers_after_new"] == []
