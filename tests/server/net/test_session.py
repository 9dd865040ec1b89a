"""A session by itself: for a client on another machine, for a cancel that comes early, for readers far behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from desk import CAPABILITIES, Desk, paint
from scumble_server.net.arriving import KnownTensors, read_text
from scumble_server.net.codecs import EDGE_CODECS
from scumble_server.net.journal import Journal
from scumble_server.net.mailbox import Mailbox
from scumble_server.net.session import Session
from scumble_shared.codec import encode_text
from scumble_shared.errors import ErrorCode
from scumble_shared.facts import TensorFacts
from scumble_shared.job import GenerateJob, LibraryJob
from scumble_shared.library import PLACE_ACTIONS
from scumble_shared.limits import DEFAULT_LIMITS, Limits
from scumble_shared.messages import (
    Accepted,
    Ack,
    Cancel,
    Cancelled,
    Failed,
    Hello,
    Identify,
    Preview,
    Problem,
    Progress,
    Ready,
    Result,
    ResumePoint,
    Started,
    Submit,
)

JOB = GenerateJob("a ruin", model="brush", width=64, height=64, num_inference_steps=2)
PICTURE = np.zeros((8, 8, 3), np.uint8)
DEPTH = np.ones((8, 8), np.float16)


class Talk:
    """A session with its desk and a clock that the test turns."""

    def __init__(self, *, local=True, limits=DEFAULT_LIMITS, desk=None, journal=None):
        self.now = 0.0
        self.desk = desk or Desk()
        self.journal = journal or Journal(self.desk, limits, lambda: self.now, keep_seconds=60.0)
        self.mailbox = Mailbox(lambda: None)
        self.session = Session(
            hello=Hello("test", "instance", limits=limits),
            service=self.desk,
            journal=self.journal,
            tensors=KnownTensors(),
            mailbox=self.mailbox,
            codecs=EDGE_CODECS,
            local=local,
            owner="client",
        )
        self.session.open()

    def says(self, *messages):
        for message in messages:
            if not self.session.overtakes(message):
                self.session.handle(message)
        return self

    def hears(self):
        heard = []
        while (outgoing := self.mailbox.take()) is not None:
            heard.append(outgoing.message)
        return heard

    def identified(self, **changes):
        self.says(Identify("test", **changes))
        assert isinstance(self.hears()[1], Ready)
        return self

    def done(self):
        while self.desk.step():
            pass
        return self


class TestAnotherMachine:
    def codecs(self, *offered):
        session = Talk(local=False).identified(codecs=offered).session
        return session.codec_for(PICTURE), session.codec_for(DEPTH)

    def test_gets_what_both_sides_can(self):
        assert self.codecs("zstd", "webp", "raw") == ("webp", "zstd")
        assert self.codecs("zstd") == ("zstd", "zstd")
        assert self.codecs("webp", "brotli") == ("webp", "raw")
        assert self.codecs("raw") == ("raw", "raw")

    def test_is_told_how_to_send(self):
        for offered, codec in ((("webp", "zstd"), "zstd"), (("webp",), "raw"), ((), "raw")):
            talk = Talk(local=False).says(Identify("test", codecs=offered))
            assert talk.hears()[1].codec == codec

    def test_this_machine_stays_raw(self):
        session = Talk().identified(codecs=("webp", "zstd")).session
        assert session.codec_for(PICTURE) == "raw"

    def test_the_server_says_what_it_understands(self):
        talk = Talk().says(Identify("test"))
        assert talk.hears()[1].capabilities.codecs == ("webp", "zstd", "raw")


class TestOvertaking:
    def test_a_cancel_finds_its_job_before_the_job_is_handled(self):
        talk = Talk().identified()
        assert not talk.session.overtakes(Submit("j", JOB))
        assert talk.session.overtakes(Cancel("j"))
        talk.session.handle(Submit("j", JOB))
        (problem,) = talk.hears()
        assert (problem.job_id, problem.error.code) == ("j", ErrorCode.UNKNOWN_JOB)
        assert talk.desk.queue == []
        assert [type(m) for m in talk.says(Submit("j", JOB)).hears()] == [Accepted]

    def test_a_cancel_behind_a_repeated_submit_cancels_the_running_job(self):
        talk = Talk().identified().says(Submit("j", JOB))
        assert not talk.session.overtakes(Submit("j", JOB))
        assert talk.session.overtakes(Cancel("j"))
        talk.session.handle(Submit("j", JOB))
        assert [type(m) for m in talk.done().hears()] == [Accepted, Accepted, Cancelled]

    def test_nobody_unidentified_overtakes(self):
        talk = Talk()
        assert not talk.session.overtakes(Cancel("j"))
        assert not talk.session.overtakes(Ack("j", 1))


class TestBugs:
    def test_cost_one_request(self, caplog):
        class Broken(Desk):
            def submit(self, *arguments, **options):
                raise ZeroDivisionError("secret detail")

        talk = Talk(desk=Broken()).identified().says(Submit("j", JOB))
        (problem,) = talk.hears()
        assert (problem.job_id, problem.error.code) == ("j", ErrorCode.INTERNAL)
        assert "secret" not in problem.error.message
        assert "secret detail" in caplog.text


class TestJournal:
    def test_an_acknowledged_job_is_forgotten(self):
        talk = Talk().identified().says(Submit("j", JOB)).done()
        assert talk.journal.kept_bytes == paint(JOB).nbytes
        talk.says(Ack("j", 2))
        assert len(talk.journal) == 1
        talk.says(Ack("j", 3))
        assert (len(talk.journal), talk.journal.kept_bytes) == (0, 0)

    def test_acknowledged_events_are_not_told_again(self):
        talk = Talk().identified().says(Submit("j", JOB)).done().says(Ack("j", 2))
        again = Talk(desk=talk.desk, journal=talk.journal).says(Identify("test", resume=(ResumePoint("j", 0),)))
        assert [type(m) for m in again.hears()] == [Hello, Ready, Result]

    def test_who_comes_back_hears_the_rest_in_order(self):
        talk = Talk().identified().says(Submit("j", JOB))
        talk.session.close()
        talk.done()
        again = Talk(desk=talk.desk, journal=talk.journal).says(Identify("test", resume=(ResumePoint("j", 1),)))
        assert [type(m) for m in again.hears()] == [Hello, Ready, Started, Result]

    def test_nobody_hears_a_job_twice(self):
        talk = Talk().identified().says(Submit("j", JOB))
        again = Talk(desk=talk.desk, journal=talk.journal).says(Identify("test", resume=(ResumePoint("j", 1),)))
        talk.hears()
        talk.done()
        assert talk.hears() == []
        assert Result in [type(m) for m in again.hears()]

    def test_a_job_nobody_comes_back_for_is_cancelled_and_forgotten(self):
        talk = Talk().identified().says(Submit("j", JOB))
        talk.session.close()
        talk.now = 60.0
        talk.journal.expire()
        assert len(talk.journal) == 1
        talk.now = 60.1
        talk.journal.expire()
        assert talk.desk.queue[0].cancelled
        back = Talk(desk=talk.desk, journal=talk.journal).says(Identify("test", resume=(ResumePoint("j", 1),)))
        assert back.hears()[1].resumed == ()
        assert back.says(Submit("j", JOB)).hears()[0].error.code is ErrorCode.BUSY
        talk.desk.step()
        assert len(talk.journal) == 0
        assert [type(m) for m in back.says(Submit("j", JOB)).hears()] == [Accepted]

    def test_a_result_nobody_comes_back_for_is_forgotten(self):
        talk = Talk().identified().says(Submit("j", JOB))
        talk.session.close()
        talk.now = 50.0
        talk.done()
        talk.now = 109.0
        talk.journal.expire()
        assert len(talk.journal) == 1
        talk.now = 111.0
        talk.journal.expire()
        assert (len(talk.journal), talk.journal.kept_bytes) == (0, 0)

    def test_a_client_who_is_there_may_take_its_time(self):
        talk = Talk().identified().says(Submit("j", JOB))
        talk.now = 1e6
        talk.journal.expire()
        assert len(talk.journal) == 1

    def test_old_results_make_room_for_new_ones(self):
        size = paint(JOB).nbytes
        talk = Talk(limits=Limits(store_bytes=2 * size)).identified()
        for number in range(4):
            talk.says(Submit(f"j{number}", JOB)).done()
        assert talk.journal.kept_bytes == 2 * size
        assert len(talk.journal) == 2

    def test_a_result_no_message_can_carry_is_a_failure(self):
        for room, kind in ((paint(JOB).nbytes, Result), (paint(JOB).nbytes - 1, Failed)):
            limits = Limits(text_bytes=1000, transfer_bytes=room + 1000)
            end = Talk(limits=limits).identified().says(Submit("j", JOB)).done().hears()[-1]
            assert isinstance(end, kind)
        assert end.error.code is ErrorCode.TOO_LARGE

    def test_time_left_is_told_from_time_spent(self):
        talk = Talk().identified().says(Submit("j", JOB))
        talk.desk.step()
        talk.now = 10.0
        talk.desk.step()
        progress = next(m for m in talk.hears() if isinstance(m, Progress))
        assert (progress.fraction, progress.eta) == (0.5, 10.0)


class TestMailbox:
    def test_only_the_latest_progress_and_preview_wait(self):
        talk = Talk().identified().says(Submit("j", JOB))
        for _ in range(3):
            talk.desk.step()
        heard = talk.hears()
        assert [type(m) for m in heard] == [Accepted, Started, Progress, Preview]
        assert [m.step for m in heard[2:]] == [2, 2]

    def test_nothing_of_a_job_comes_after_its_end(self):
        talk = Talk().identified().says(Submit("j", JOB)).done()
        assert [type(m) for m in talk.hears()] == [Accepted, Started, Result]

    def test_a_reader_far_behind_is_cut_off_and_costs_no_memory(self):
        talk = Talk().identified()
        for _ in range(2000):
            talk.says(Cancel("nobody"))
        assert talk.mailbox.overflowed
        assert talk.hears() == []


class TestReading:
    def test_the_problem_names_the_job_if_it_can(self):
        text = encode_text(Submit("j", JOB))
        for broken, job_id in (
            (text.replace('"seed":0', '"seed":{}'), "j"),
            (text.replace('"generate"', '"telepathy"'), "j"),
            (text.replace('"j"', '"../j"'), ""),
            (text[:-1], ""),
        ):
            message, problem = read_text(broken, DEFAULT_LIMITS)
            assert message is None
            assert isinstance(problem, Problem)
            assert problem.job_id == job_id

    def test_the_longest_text_that_is_read(self):
        text = encode_text(Submit("j", JOB))
        assert read_text(text, Limits(text_bytes=len(text)))[1] is None
        assert read_text(text, Limits(text_bytes=len(text) - 1))[1].error.code is ErrorCode.TOO_LARGE


def test_facts_are_remembered_for_the_latest_tensors_only():
    known = KnownTensors(limit=2)
    facts = TensorFacts("uint8", (1,))
    for digest in "abc":
        known.add(digest, facts)
    assert known.of("abc") == {"b": facts, "c": facts}


class TestFilesOfTheServersMachine:
    """Whoever isn't on it can't name them."""

    def answer(self, job, *, local):
        desk = Desk(known=replace(CAPABILITIES, tasks=("generate", "library")))
        talk = Talk(local=local, desk=desk).identified()
        (problem,) = talk.says(Submit("job", job)).hears()
        return problem.error

    @pytest.mark.parametrize("action", PLACE_ACTIONS)
    def test_are_refused_from_another_machine(self, action):
        assert self.answer(LibraryJob(action, "/home/me"), local=False).code is ErrorCode.UNAUTHORIZED
        assert self.answer(LibraryJob(action, ""), local=True).field == "job.target"

    def test_other_library_jobs_are_as_good_from_anywhere(self):
        assert self.answer(LibraryJob("delete", "ink"), local=False).field == "job.confirmed"
