"""Scenarios in real Blender windows under Xvfb: ``make test-gui``. The pictures are kept in gui_output/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stagehand import SUITES, Server, furnish, play

OUTPUT = Path(__file__).resolve().parents[2] / "gui_output"


@pytest.fixture(params=SUITES)
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that both sides see, with the extension in it; in one named as the suite."""
    folder = OUTPUT / request.param / request.node.originalname.removeprefix("test_")
    monkeypatch.setenv("SCUMBLE_HOME", str(folder / "scumble"))
    furnish(folder)
    return folder


@pytest.fixture
def server(shared: Path) -> Iterator[Server]:
    served = Server()
    served.start()
    yield served
    served.stop()


@pytest.mark.timeout(1200)
def test_an_artists_first_minute(shared: Path, server: Server) -> None:
    facts = play(shared, "first_minute", server)
    assert facts["generate"] == "done"
    assert facts["materials"]
    assert facts["materials_after_undo"] == []


@pytest.mark.timeout(1200)
def test_texturing_all_around(shared: Path, server: Server) -> None:
    facts = play(shared, "texture_all", server)
    assert facts["coverage"] > 0.9
    assert facts["forming"]
    assert facts["materials_while_forming"] == 0
    assert facts["materials"] == ["Scumble Suzanne"]
    assert facts["materials_after_undo"] == []


@pytest.mark.timeout(1200)
def test_live_mode_follows_the_viewport(shared: Path, server: Server) -> None:
    facts = play(shared, "live", server)
    assert facts["status"] == "At rest, in full quality"
    assert facts["jobs_while_still"] == 0
    assert facts["rests_while_still"] is True
    assert facts["jobs_of_a_turn_of_40_parts"] < 40
    assert facts["windows"] == 2
    assert facts["blocks_as_before"] is True
    assert facts["on_after_new"] is False
    assert facts["handlers_after_new"] == []


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", ["1600x1000", "3200x2000"])
def test_the_panels_at_both_sizes_of_the_interface(shared: Path, server: Server, size: str) -> None:
    play(shared, "looks", server, size)
