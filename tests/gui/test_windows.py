"""Scenarios in real Blender windows under Xvfb: ``make test-gui``. The pictures are kept in gui_output/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import cut_out, difference, shown_difference
from stagehand import SUITES, Server, furnish, play

OUTPUT = Path(__file__).resolve().parents[2] / "gui_output"
pytestmark = pytest.mark.timeout(1200)

SAME_SCREEN = 0.02
"""Part of the screen that may differ, such as where the mouse is."""

SAME_PICTURE = 12.0
"""Of 255: gizmos, grid and text of the viewport lie over it."""

TARGET_RATE = 4.0
"""Live pictures per second, unless one asks for another number."""

PUBLISHED = "1600x1000"
"""Screen of the screenshots that the documentation shows."""

PANELS = 900, 2800
"""Screen on which nearly all panels have room at a scale of 1, pixels."""


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


def test_installing_and_finding_the_tab(shared: Path, server: Server) -> None:
    facts = play(shared, "install", server)
    assert facts["enabled"] == [True, True]
    assert facts["disabled"] == [False, False]
    assert facts["left_behind"] == []
    assert facts["tabs_without"] is False
    assert facts["prompt_again"] == "mossy stone, overcast"
    assert difference(shared / "1_before.png", shared / "2_tab.png") > SAME_SCREEN
    assert difference(shared / "1_before.png", shared / "4_after.png") < SAME_SCREEN


def test_generate_and_cancel_by_clicks(shared: Path, server: Server) -> None:
    facts = play(shared, "generate", server)
    assert facts["cancelled"] == "cancelled"
    assert facts["step_of_cancelled"] < 100
    assert facts["generated"] == "done"
    assert shown_difference(shared, "2_picture", facts["2_picture"]) < SAME_PICTURE
    assert facts["images_more"] == 1


def test_an_artists_first_minute(shared: Path, server: Server) -> None:
    facts = play(shared, "first_minute", server, PUBLISHED)
    assert facts["generate"] == "done"
    assert facts["materials"]
    assert facts["materials_after_undo"] == []


def test_texturing_all_around(shared: Path, server: Server) -> None:
    facts = play(shared, "texture_all", server, PUBLISHED)
    assert facts["coverage"] > 0.9
    assert facts["forming"]
    assert facts["materials_while_forming"] == 0
    assert facts["materials"] == ["Scumble Suzanne"]
    assert facts["materials_after_undo"] == []


def test_live_mode_follows_the_viewport(shared: Path, server: Server) -> None:
    facts = play(shared, "live", server)
    assert facts["status"] == "At rest, in full quality"
    assert facts["jobs_while_still"] == 0
    assert facts["rests_while_still"] is True
    assert facts["jobs_of_the_turn"] <= TARGET_RATE * facts["seconds_of_the_turn"] + 2
    assert facts["pictures_of_the_turn"] > 0
    for name in ("1_still", "3_followed"):
        assert shown_difference(shared, name, facts[name]) < SAME_PICTURE
    assert difference(shared / "1_still.png", shared / "3_followed.png") > SAME_SCREEN
    assert facts["blocks_as_before"] is True
    assert facts["images_kept"] == 1
    assert facts["left_behind"] == []


def test_live_mode_with_sculpting_windows_and_workspaces(shared: Path, server: Server) -> None:
    facts = play(shared, "sculpt", server)
    assert facts["sculpted"] is True
    assert facts["undone"] is True
    assert facts["pictures_of_the_stroke"] > 0
    assert facts["dynamic"] is True
    assert facts["dynamic_sculpted"] is True
    assert facts["dynamic_undone"] is True
    assert (facts["windows"], facts["windows_after"]) == (2, 1)
    assert facts["paused"] == "No 3D viewport is on screen"
    assert facts["jobs_without_a_viewport"] == 0
    assert facts["paused_after"] == ""
    assert difference(shared / "1_before.png", shared / "5_back.png") < 0.2


def test_new_open_and_quit_while_busy(shared: Path, server: Server) -> None:
    facts = play(shared, "files", server)
    assert facts["on_after_new"] is False
    assert facts["left_after_new"] == []
    assert facts["session_after_new"] == "ready"
    assert facts["prompt_after_open"] == "mossy stone"
    assert facts["on_after_open"] is False
    assert facts["left_after_open"] == []
    assert server.runs


def test_the_server_killed_and_back(shared: Path, server: Server) -> None:
    facts = play(shared, "server", server)
    assert facts["paused"] == "Waiting for the server"
    assert facts["on_without"] is True
    assert facts["state_without"] == "lost"
    assert facts["state_after"] == "ready"
    assert shown_difference(shared, "2_again", facts["2_again"]) < SAME_PICTURE
    assert facts["picture_after"] in ("done", "failed")
    assert facts["next_picture"] == "done"


def test_the_panels_at_both_scales_of_the_interface(
    shared: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    width, height = PANELS
    for scale in (1, 2):
        monkeypatch.setenv("SCUMBLE_UI_SCALE", str(scale))
        facts = play(shared, "looks", server, f"{scale * width}x{scale * height}")
        assert facts["scale"] == pytest.approx(scale, abs=0.05)
        for name in ("fresh", "worked"):
            cut_out(shared / f"{scale}x_{name}.png", facts["sidebar"])
    assert difference(shared / "1x_fresh_panels.png", shared / "2x_fresh_panels.png") < SAME_SCREEN
