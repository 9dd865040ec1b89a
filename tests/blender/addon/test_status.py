"""What the panels say in each situation."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest

MODULE = "bl_ext.user_default.scumble"


@pytest.fixture
def status(extension):
    return importlib.import_module(f"{MODULE}.status")


@pytest.fixture
def record(extension):
    jobs = importlib.import_module(f"{MODULE}.jobs")
    from scumble_shared.job import GenerateJob

    def make(**changes):
        return jobs.JobRecord("1", GenerateJob("x"), jobs.Target(0), **changes)

    return make


def test_every_state_of_the_connection_has_a_row_and_a_way_on(extension, status):
    session = importlib.import_module(f"{MODULE}.session")
    from scumble_shared.messages import Capabilities

    rows = [status.connection_row(state, Capabilities(device="cuda"), True) for state in session.ConnectionState]
    assert all(row.text and row.icon and row.operator for row in rows)
    assert any("cuda" in row.text for row in rows)
    assert {row.button for row in rows} == {"", "Start Server"}
    elsewhere = status.connection_row(session.ConnectionState.OFF, Capabilities(), False)
    assert (elsewhere.operator, elsewhere.button) == ("scumble.connect", "Connect")


@pytest.mark.parametrize(
    ("prompt", "source", "camera", "reason"),
    [
        ("stone", "CAMERA", True, ""),
        ("stone", "VIEWPORT", False, ""),
        ("  ", "VIEWPORT", True, "prompt"),
        ("stone", "CAMERA", False, "camera"),
    ],
)
def test_generate_says_why_it_is_disabled(status, prompt, source, camera, reason):
    said = status.why_not_generate(SimpleNamespace(prompt=prompt, source=source), camera)
    assert reason in said if reason else said == ""


def test_a_waiting_job_tells_its_place(status, record):
    assert status.progress_text(record(position=2)) == "Waiting, 2 before it"
    assert status.progress_text(record()) == "Waiting"


@pytest.mark.parametrize(
    ("method", "step", "text"),
    [
        ("synchronised", 3, "Painting 2 views 3/20"),
        ("sequential", 3, "Painting view 1/2, step 3/10"),
        ("sequential", 10, "Painting view 1/2, step 10/10"),
        ("sequential", 11, "Painting view 2/2, step 1/10"),
    ],
)
def test_a_texture_tells_its_views_and_steps(extension, status, method, step, text):
    from scumble_shared.camera import Camera
    from scumble_shared.job import TextureJob, TextureView

    jobs = importlib.import_module(f"{MODULE}.jobs")
    unit = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    camera = Camera(unit, unit, 8, 8, 0.1, 1.0)
    views = (TextureView(camera), TextureView(camera, image="f" * 64), TextureView(camera))
    job = TextureJob("x", (), views=views, method=method)
    running = jobs.JobRecord("1", job, jobs.Target(0), jobs.JobState.RUNNING, stage="denoising", step=step, steps=20)
    assert status.progress_text(running) == text


@pytest.mark.parametrize(("eta", "words"), [(5.4, "5 s left"), (59.4, "59 s left"), (125.0, "2 min 5 s left")])
def test_a_running_job_tells_stage_steps_and_time(status, record, eta, words):
    text = status.progress_text(record(stage="denoising", step=3, steps=20, eta=eta))
    assert text == f"Painting 3/20, {words}"


@pytest.mark.parametrize(
    ("changes", "fraction"),
    [
        ({}, 0.0),
        ({"step": 5, "steps": 20}, 0.25),
        ({"fraction": 0.6, "step": 5, "steps": 20}, 0.6),
        ({"fraction": 1.2}, 1.0),
    ],
)
def test_the_bar_shows_the_whole_job_or_else_its_steps(status, record, changes, fraction):
    assert status.progress_fraction(record(**changes)) == fraction


def test_controls_the_model_cannot_follow_are_named(status):
    assert "canny" in status.controls_hint(("depth", "normal"), ("depth", "canny"))
    assert status.controls_hint(("depth",), ("depth",)) == ""
    assert status.controls_hint((), ("canny",)) == ""  # nothing is known of the model yet
