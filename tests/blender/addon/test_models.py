"""The model manager in Blender: what the server says is shown, what is asked for is what was pressed."""

from __future__ import annotations

import importlib

import bpy
import pytest
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, LibraryJob
from scumble_shared.library import (
    CatalogueModel,
    LibraryAnswer,
    LibraryListing,
    ModelFolder,
    SearchHit,
    ShelfModel,
    StarterSet,
)
from scumble_shared.messages import Capabilities

MODULE = "bl_ext.user_default.scumble"
DREAM = ShelfModel("dream", "Dream", "checkpoint", "sd15", 2_100_000_000, licence="OpenRAIL", own=True)
HALF = ShelfModel("half", "Half", "other", "", 700_000_000, "unfinished", own=True)
LISTING = LibraryListing(
    "/models",
    50_000_000_000,
    "https://huggingface.co",
    models=(DREAM, HALF),
    catalogue=(CatalogueModel("sd15", "SD 1.5", "checkpoint", "sd15", "OpenRAIL", "a/b", 2_100_000_000, "The base."),),
    sets=(StarterSet("4gb", 4, ("sd15",), "The least.", 2_100_000_000),),
    folders=(ModelFolder("/models", fixed=True), ModelFolder("/home/me/ComfyUI", "ComfyUI", added=False)),
)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def shelf(part, empty_scene):
    verbs = part("models.verbs")
    yield verbs.SHELF
    verbs.SHELF.clear()
    part("models.properties").show(verbs.SHELF)


@pytest.fixture
def session(part):
    """As after connecting to a server that looks after models; nothing is sent."""
    current = part("state").session()
    current.capabilities, current.state = (
        Capabilities(tasks=("generate", "library")),
        part("session").ConnectionState.READY,
    )
    yield current
    current.disconnect()
    current.jobs.clear()
    current.problem = None


@pytest.fixture
def online():
    system = bpy.context.preferences.system
    before = system.use_online_access
    system.use_online_access = True
    yield system
    system.use_online_access = before


def answered(part, session, job, answer):
    """The job as the network thread hands it over when the server has done it."""
    record = session.submit(job, {}, part("jobs").Target(0), previews=False)
    record = session.jobs.update(record.id, state=part("jobs").JobState.DONE, prepared=answer)
    part("apply.results").apply_result(record)


def asked(session):
    return [record.job for record in session.jobs.live()]


class TestShelf:
    def test_what_the_server_says_fills_the_list_and_keeps_what_was_chosen(self, part, shelf, session):
        lists = bpy.context.window_manager.scumble_models
        answered(part, session, LibraryJob("list"), LibraryAnswer(listing=LISTING))
        assert [item.model_id for item in lists.models] == ["dream", "half"]
        assert "SD 1.5" in lists.models[0].name
        lists.active = 1
        newer = ShelfModel("another", "Another", "lora", "sd15", 1)
        listing = LibraryListing("/models", 1, "hub", models=(newer, DREAM, HALF))
        answered(
            part,
            session,
            LibraryJob("verify", "half"),
            LibraryAnswer("half is damaged", ("too short",), listing=listing),
        )
        assert lists.models[lists.active].model_id == "half"
        assert (shelf.note, shelf.problems) == ("half is damaged", ("too short",))

    def test_a_search_leaves_the_list_as_it_was(self, part, shelf, session):
        answered(part, session, LibraryJob("list"), LibraryAnswer(listing=LISTING))
        hits = (SearchHit("owner/stone", "lora", "sdxl", "mit", gated=True),)
        answered(part, session, LibraryJob("search", "stone"), LibraryAnswer("1 found", hits=hits))
        lists = bpy.context.window_manager.scumble_models
        assert ([item.model_id for item in lists.hits], len(lists.models)) == (["owner/stone"], 2)

    def test_a_new_file_shows_what_is_known(self, part, shelf, session):
        answered(part, session, LibraryJob("list"), LibraryAnswer(listing=LISTING))
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        assert len(bpy.context.window_manager.scumble_models.models) == 2

    def test_answers_do_not_push_pictures_out_of_memory(self, part, shelf, session):
        jobs = part("jobs")
        session.jobs.add(jobs.JobRecord("picture", GenerateJob("x"), jobs.Target(0), state=jobs.JobState.DONE))
        verbs = part("models.verbs")
        for _ in range(20):
            record = verbs._submit(LibraryJob("list"))
            session.jobs.update(record.id, state=jobs.JobState.DONE, prepared=LibraryAnswer(listing=LISTING))
        assert session.jobs.get("picture") is not None


class TestWords:
    def test_one_line_for_each_errand(self, part):
        shelf, jobs = part("models.shelf"), part("jobs")

        def text(job, **changes):
            return shelf.errand_text(jobs.JobRecord("1", job, jobs.Target(0), **changes))

        running = jobs.JobState.RUNNING
        assert (
            text(LibraryJob("get", "sd15"), state=running, step=1200, steps=2100)
            == "Downloading sd15, 1.2 GB of 2.1 GB"
        )
        assert (
            text(LibraryJob("get", "https://x/a.safetensors?key=1"), state=running, step=3)
            == "Downloading a.safetensors, 3 MB"
        )
        assert text(LibraryJob("import", "C:\\models\\a.safetensors")) == "Waiting: Importing a.safetensors"

    def test_a_fraction_is_one_whatever_the_server_says(self, part):
        shelf, jobs = part("models.shelf"), part("jobs")
        for fraction, shown in ((None, 0.0), (-1.0, 0.0), (0.5, 0.5), (7.0, 1.0)):
            record = jobs.JobRecord("1", LibraryJob("get", "x"), jobs.Target(0), fraction=fraction)
            assert shelf.errand_fraction(record) == shown


class TestButtons:
    def test_without_a_server_there_are_none(self, shelf):
        for name in ("models_list", "model_get", "model_delete", "model_folder_add"):
            assert not getattr(bpy.ops.scumble, name).poll()

    def test_a_server_that_looks_after_no_models_says_so(self, part, shelf, session):
        session.capabilities = Capabilities(tasks=("generate",))
        assert "doesn't look after" in part("models.verbs").why_not()

    def test_the_network_needs_blenders_leave(self, part, shelf, session, online):
        assert bpy.ops.scumble.model_get.poll()
        online.use_online_access = False
        assert not bpy.ops.scumble.model_get.poll()
        assert not bpy.ops.scumble.models_search.poll()
        assert bpy.ops.scumble.model_verify.poll()
        with pytest.raises(ScumbleError) as caught:
            part("models.verbs").start(LibraryJob("get", "sd15"))
        assert caught.value.code is ErrorCode.OFFLINE

    def test_looking_at_the_panel_asks_the_server_once_and_nobody_else(self, part, shelf, session):
        verbs = part("models.verbs")
        verbs.list_if_wanted()
        assert asked(session) == []
        shelf.wanted = True
        verbs.list_if_wanted()
        verbs.list_if_wanted()
        assert asked(session) == [LibraryJob("list")]

    @pytest.mark.parametrize(
        ("operator", "given", "job"),
        [
            ("model_get", {"target": "4gb"}, LibraryJob("get", "4gb")),
            (
                "model_get",
                {"target": "a/b", "file": "x.safetensors"},
                LibraryJob("get", "a/b", files=("x.safetensors",)),
            ),
            ("models_search", {"words": " stone "}, LibraryJob("search", "stone")),
            ("model_verify", {"model_id": "dream"}, LibraryJob("verify", "dream")),
            ("model_drop", {"model_id": "half"}, LibraryJob("drop", "half")),
            ("model_delete", {"model_id": "dream"}, LibraryJob("delete", "dream", confirmed=True)),
            ("model_folder_remove", {"directory": "/x"}, LibraryJob("remove_folder", "/x")),
        ],
    )
    def test_each_asks_for_what_it_says(self, part, shelf, session, online, monkeypatch, operator, given, job):
        monkeypatch.setattr(part("pump"), "ensure_running", lambda: None)
        assert getattr(bpy.ops.scumble, operator)(**given) == {"FINISHED"}
        assert asked(session) == [job]

    def test_stopping_pictures_lets_downloads_go_on(self, part, shelf, session):
        verbs = part("models.verbs")
        record = verbs._submit(LibraryJob("get", "sd15"))
        bpy.ops.scumble.cancel()
        assert asked(session) == [LibraryJob("get", "sd15")]
        bpy.ops.scumble.cancel(job_id=record.id)
        assert asked(session) == []

    def test_a_models_own_paths_are_made_whole(self, part, tmp_path):
        assert part("models.operators")._absolute(str(tmp_path / "a" / ".." / "b"))
        assert part("models.operators")._absolute("") == ""


def test_what_the_preferences_say_of_downloads_reaches_a_server_of_our_own(part):
    wanted = bpy.context.preferences.addons[MODULE].preferences
    settings = part("preferences").download_settings
    assert settings(wanted) == {}
    wanted.hub_token, wanted.mirror = " hf_x ", "https://mirror.example"
    try:
        assert settings(wanted) == {"HF_TOKEN": "hf_x", "SCUMBLE_MIRROR": "https://mirror.example"}
    finally:
        wanted.hub_token = wanted.mirror = ""


def test_the_engine_that_is_to_paint_is_told_to_a_server_of_our_own(part):
    wanted = bpy.context.preferences.addons[MODULE].preferences
    arguments = part("preferences").engine_arguments
    assert arguments(wanted) == []
    try:
        wanted.engine = "comfyui"
        assert arguments(wanted) == ["--engine", "comfyui"]
        wanted.engine_url = " http://box:8188 "
        assert arguments(wanted) == ["--engine", "comfyui", "--engine-url", "http://box:8188"]
    finally:
        wanted.engine, wanted.engine_url = "own", ""
