"""Library jobs beside the queue: downloads with progress that can be stopped and gone on with, and how they fail."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import drop, length_of, stall, status
from scumble_server.models.library import Library
from scumble_server.models.manager import ModelManager
from scumble_server.models.shelf import Shelf
from scumble_server.service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
)
from scumble_server.workers.library_service import LibraryService
from scumble_server.workers.service import WorkerService
from scumble_server.workers.spec import ExecutorSpec
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import LibraryJob
from scumble_shared.library import read_answer
from scumble_shared.messages import Capabilities

sys.path.insert(0, str(Path(__file__).parents[2] / "workers"))

COMMIT = "c" * 40
FINAL = (JobResultUpdate, JobFailedUpdate, JobCancelledUpdate)


class Heard:
    """Updates of one job."""

    def __init__(self):
        self.updates, self.news = [], asyncio.Event()

    def __call__(self, update):
        self.updates.append(update)
        self.news.set()

    async def until(self, kinds):
        async with asyncio.timeout(30):
            while not (found := [update for update in self.updates if isinstance(update, kinds)]):
                self.news.clear()
                await self.news.wait()
        return found[0]


@pytest.fixture
def looks():
    return []


@pytest.fixture
def service(tmp_path, network, looks):
    """On a worker service whose worker is never started: none of this needs one."""

    def find():
        looks.append(1)
        return Capabilities(tasks=("generate",))

    inner = WorkerService(ExecutorSpec("brush:Brush"), capabilities=find(), find_models=find)
    shelf = Shelf(Library(tmp_path / "library"), (tmp_path / "library",), looks_around=lambda: ())
    return LibraryService(inner, ModelManager(shelf, lambda: network))


def done(service, *jobs):
    """The final update of each job, all submitted at once."""

    async def work():
        heard = [Heard() for _ in jobs]
        for number, (job, listener) in enumerate(zip(jobs, heard, strict=True)):
            service.submit(f"job{number}", job, "owner", listener)
        ends = [await listener.until(FINAL) for listener in heard]
        assert all(isinstance(listener.updates[0], JobStartedUpdate) for listener in heard)
        await service.close()
        return ends

    return asyncio.run(work())


def answer(service, job):
    (end,) = done(service, job)
    assert isinstance(end, JobResultUpdate), end
    return read_answer(end.tensors["answer"])


def failure(service, job):
    (end,) = done(service, job)
    assert isinstance(end, JobFailedUpdate), end
    return end.error


@pytest.fixture
def large(server, weights):
    """Address of a model of two megabytes, and its bytes."""
    body = weights(size=512)
    return server.put("/large.safetensors", body), body


class TestAnswers:
    def test_a_server_that_does_anything_does_this_too(self, service):
        assert service.capabilities().tasks == ("generate", "library")

    def test_models_say_their_licence(self, service):
        (starter,) = answer(service, LibraryJob("list")).listing.models
        assert (starter.id, starter.licence, starter.place) == ("starter", "CC0-1.0", "built-in")

    def test_a_list_needs_no_network(self, service, server):
        listing = answer(service, LibraryJob("list")).listing
        assert {entry.id for entry in listing.catalogue} >= {"sd15", "sd15-depth", "sdxl"}
        assert {item.vram for item in listing.sets} == {4, 8, 12}
        assert [model.id for model in listing.models] == ["starter"]
        assert listing.free > 0
        assert server.seen == []

    def test_what_was_fetched_is_listed_with_licence_family_and_size(self, service, server, weights, looks):
        net = weights("control_model.zero_convs.0.0.weight")
        server.put_repository("owner/style", COMMIT, {"style.safetensors": net}, license="openrail")
        got = answer(service, LibraryJob("get", "owner/style"))
        (model,) = [model for model in got.listing.models if model.id == "style"]
        assert (model.licence, model.source, model.revision) == ("openrail", "owner/style", COMMIT)
        assert (model.size, model.own, model.place) == (len(net), True, "Scumble")
        assert model.state == "unusable"  # it attends to no text
        assert "style" in got.note
        assert len(looks) == 2  # once at the start, and once for what came

    def test_a_lora_is_kept_and_not_called_unusable(self, service, server, weights):
        body = weights("lora_unet_x.lora_down.weight")
        listing = answer(service, LibraryJob("get", server.put("/ink.safetensors", body))).listing
        (model,) = [model for model in listing.models if model.id == "ink"]
        assert (model.kind, model.state, model.reason) == ("lora", "kept", "")

    def test_verifying_tells_what_was_changed_and_deleting_needs_to_be_meant(self, service, server, weights, tmp_path):
        answer(service, LibraryJob("get", server.put("/ink.safetensors", weights())))
        assert answer(service, LibraryJob("verify", "ink")).problems == ()
        path = tmp_path / "library" / "ink.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        assert "checksum" in answer(service, LibraryJob("verify", "ink")).problems[0]
        assert failure(service, LibraryJob("delete", "ink")).field == "confirmed"
        assert path.exists()
        gone = answer(service, LibraryJob("delete", "ink", confirmed=True))
        assert not path.exists()
        assert "ink" not in {model.id for model in gone.listing.models}

    def test_a_folder_is_read_in_place_and_offered_no_longer(self, service, tmp_path, weights):
        other = tmp_path / "mine"
        other.mkdir()
        (other / "ink.safetensors").write_bytes(weights("x.lora_down.weight"))
        listing = answer(service, LibraryJob("add_folder", str(other))).listing
        (model,) = [model for model in listing.models if model.id == "ink"]
        assert (model.place, model.own) == ("mine", False)
        assert [(folder.path, folder.models) for folder in listing.folders if not folder.fixed] == [(str(other), 1)]
        assert failure(service, LibraryJob("delete", "ink", confirmed=True)).code is ErrorCode.MODEL_MISSING
        listing = answer(service, LibraryJob("remove_folder", str(other))).listing
        assert "ink" not in {model.id for model in listing.models}
        assert (other / "ink.safetensors").exists()

    def test_a_model_from_elsewhere_is_taken_in(self, service, tmp_path, weights):
        (tmp_path / "Ink Wash.safetensors").write_bytes(weights())
        job = LibraryJob("import", str(tmp_path / "Ink Wash.safetensors"), licence="mine")
        model = next(model for model in answer(service, job).listing.models if model.own)
        assert (model.id, model.licence) == ("ink-wash", "mine")
        assert failure(service, LibraryJob("import", "Ink Wash.safetensors")).code is ErrorCode.INVALID_FIELD

    def test_models_whose_files_somebody_removed_can_be_deleted_for_good(self, service, server, weights, tmp_path):
        answer(service, LibraryJob("get", server.put("/ink.safetensors", weights())))
        (tmp_path / "library" / "ink.safetensors").unlink()
        (model,) = [model for model in answer(service, LibraryJob("list")).listing.models if model.own]
        assert (model.state, model.size) == ("unusable", 0)
        assert not [m for m in answer(service, LibraryJob("delete", "ink", confirmed=True)).listing.models if m.own]


class TestDownloads:
    def test_progress_is_told_in_megabytes_and_ends_whole(self, service, large):
        url, body = large

        async def work():
            heard = Heard()
            service.submit("job", LibraryJob("get", url), "owner", heard)
            await heard.until(JobResultUpdate)
            await service.close()
            return [update for update in heard.updates if isinstance(update, JobProgressUpdate)]

        steps = asyncio.run(work())
        assert (steps[-1].stage, steps[-1].fraction) == ("downloading", 1.0)
        assert steps[-1].step == steps[-1].steps == len(body) // 1_000_000

    def test_cancelling_keeps_what_came_and_the_next_attempt_goes_on(self, service, server, large, tmp_path):
        url, body = large
        half = len(body) // 2
        server.resources["/large.safetensors"].faults = [drop(half), stall(0)]

        async def cancelled():
            heard = Heard()
            service.submit("job", LibraryJob("get", url), "owner", heard)
            await heard.until(JobProgressUpdate)
            assert service.cancel("job")
            assert isinstance(await heard.until(FINAL), JobCancelledUpdate)
            await service.close()
            return heard.updates

        asyncio.run(cancelled())
        (model,) = [m for m in answer(service, LibraryJob("list")).listing.models if m.state == "unfinished"]
        assert model.id == "large"
        assert 0 < model.size <= half + 4096
        server.resources["/large.safetensors"].faults = []
        answer(service, LibraryJob("get", url))
        assert server.seen[-1].headers["Range"].startswith("bytes=")
        assert (tmp_path / "library" / "large.safetensors").read_bytes() == body

    def test_what_was_broken_off_can_be_dropped(self, service, server, large):
        url, body = large
        server.resources["/large.safetensors"].faults = [drop(len(body) // 2)] + [status(503)] * 9
        assert failure(service, LibraryJob("get", url)).retryable
        dropped = answer(service, LibraryJob("drop", "large"))
        assert "1.0 MB" in dropped.note
        assert [model.state for model in dropped.listing.models] == ["ready"]

    def test_several_go_on_at_once_but_not_without_bound(self, service, server, weights):
        urls = [server.put(f"/m{number}.safetensors", weights(seed=number)) for number in range(8)]
        ends = done(service, *(LibraryJob("get", url) for url in urls))
        assert all(isinstance(end, JobResultUpdate) for end in ends)

        async def too_many():
            for number in range(8):
                service.submit(f"job{number}", LibraryJob("list"), "owner", Heard())
            with pytest.raises(ScumbleError) as caught:
                service.submit("one more", LibraryJob("list"), "owner", Heard())
            await service.close()
            return caught.value

        error = asyncio.run(too_many())
        assert (error.code, error.info.retryable) == (ErrorCode.BUSY, True)

    def test_the_same_model_asked_for_twice_at_once_is_fetched_once(self, service, server, large):
        url, body = large
        server.resources["/large.safetensors"].faults = [drop(len(body) // 2)]
        ends = done(service, LibraryJob("get", url), LibraryJob("get", url))
        assert all(isinstance(end, JobResultUpdate) or end.error.code is ErrorCode.IN_USE for end in ends)
        assert len(server.seen) == 2  # until it dropped, and from there on

    def test_closing_the_server_does_not_wait_for_a_download_that_stalls(self, service, server, large):
        url, _ = large
        server.resources["/large.safetensors"].faults = [stall(1000)]

        async def work():
            heard = Heard()
            service.submit("job", LibraryJob("get", url), "owner", heard)
            await heard.until(JobProgressUpdate)
            async with asyncio.timeout(5):
                await service.close()

        asyncio.run(work())


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "code", "remedy"),
        [
            (status(404), ErrorCode.MODEL_MISSING, "name"),
            (status(401), ErrorCode.UNAUTHORIZED, "HF_TOKEN"),
            (status(403, X_Error_Code="GatedRepo"), ErrorCode.UNAUTHORIZED, "licence"),
            (lambda handler, _: handler.answer(200, {}, b"<html>Sign in</html>"), ErrorCode.MODEL_INVALID, ""),
            (length_of(500), ErrorCode.MODEL_INVALID, ""),
        ],
        ids=["gone", "private", "gated", "a login page", "a lie about the size"],
    )
    def test_each_says_what_to_do(self, service, server, weights, fault, code, remedy):
        url = server.put("/ink.safetensors", weights(), *([fault] * 6))
        error = failure(service, LibraryJob("get", url))
        assert error.code is code
        assert remedy in (error.remedy.label if error.remedy else "")
        assert not [model for model in answer(service, LibraryJob("list")).listing.models if model.state == "ready"][1:]

    def test_a_disk_that_is_too_small_is_told_before_the_first_byte(self, service, server, weights, network, tmp_path):
        shelf = Shelf(Library(tmp_path / "library"), (), looks_around=lambda: ())
        full = replace(network, disk_reserve=1 << 62)
        service = LibraryService(service._inner, ModelManager(shelf, lambda: full))
        server.put_repository("owner/ink", COMMIT, {"ink.safetensors": weights()})
        error = failure(service, LibraryJob("get", "owner/ink"))
        assert error.code is ErrorCode.DISK_FULL
        assert [seen.path for seen in server.seen if "resolve" in seen.path] == []

    def test_pickles_are_refused_with_the_reason(self, service, server):
        error = failure(service, LibraryJob("get", server.url + "/model.ckpt"))
        assert error.code is ErrorCode.MODEL_INVALID
        assert "can run code" in error.message
        assert server.seen == []

    def test_offline_nothing_is_asked(self, service, server, weights, network, tmp_path):
        shelf = Shelf(Library(tmp_path / "library"), (), looks_around=lambda: ())
        closed = replace(network, offline=True)
        service = LibraryService(service._inner, ModelManager(shelf, lambda: closed))
        for job in (LibraryJob("get", server.put("/ink.safetensors", weights())), LibraryJob("search", "ink")):
            assert failure(service, job).code is ErrorCode.OFFLINE
        assert answer(service, LibraryJob("list")).listing.offline
        assert server.seen == []

    def test_a_library_that_cannot_be_written_is_told(self, service, tmp_path):
        (tmp_path / "library").mkdir()
        (tmp_path / "library" / ".scumble").write_text("not a folder")
        (tmp_path / "mine").mkdir()
        error = failure(service, LibraryJob("add_folder", str(tmp_path / "mine")))
        assert error.field == "folder"
        assert answer(service, LibraryJob("list")).listing is not None
