"""The client session by itself: what it says, in which order, and what it makes of what it hears.

How it fares with a server over a bad line is in tests/server/net/test_lossy_link.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_made_up import error_code
from scumble_shared.client import ClientSession, ClientState
from scumble_shared.codec import Assembler, decode_binary, decode_text, describe, encode_binary, encode_text
from scumble_shared.errors import ErrorCode, ErrorInfo, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.limits import Limits
from scumble_shared.messages import (
    Accepted,
    Ack,
    Cancel,
    Cancelled,
    Capabilities,
    ClientMessage,
    Failed,
    Hello,
    Identify,
    ListModels,
    ModelsChanged,
    NeedTensors,
    Problem,
    Progress,
    Ready,
    Result,
    ResumePoint,
    Submit,
    Upload,
)
from scumble_shared.tensor import digest_of

IMAGE = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
DIGEST = digest_of(IMAGE)
TENSORS = {DIGEST: IMAGE}
JOB = GenerateJob("a ruin", init_image=DIGEST)
PLAIN = GenerateJob("a ruin")


def said(session):
    """All the session wants to send now."""
    messages = []
    assembler = Assembler()
    while (frame := session.next_frame()) is not None:
        if isinstance(frame, str):
            messages.append(decode_text(frame, ClientMessage))
        elif (whole := assembler.feed(frame)) is not None:
            messages.append(decode_binary(whole, ClientMessage).message)
    return messages


def hears(session, *messages):
    arrived = []
    for message in messages:
        arrived += session.receive(encode_text(message))
    return [item.message for item in arrived]


def ready_session(codec="raw", instance="one", resumed=(), session=None):
    session = session or ClientSession("test 1")
    session.connected()
    hears(session, Hello("server 1", instance))
    identify = said(session)
    hears(session, Ready(1, Capabilities(device="cpu"), codec, resumed))
    return session, identify[0]


def upload(digest=DIGEST, array=IMAGE):
    return Upload((describe("", array, digest),))


class TestHandshake:
    def test_says_nothing_before_the_server_did(self):
        session = ClientSession("test 1")
        session.connected()
        session.submit("j", PLAIN, {})
        assert said(session) == []

    def test_identifies_then_is_ready(self):
        session, identify = ready_session()
        assert identify == Identify("test 1")
        assert session.state is ClientState.READY
        assert session.capabilities.device == "cpu"
        assert session.instance_id == "one"

    @pytest.mark.parametrize(
        ("spoken", "remedy"), [((2, 3), RemedyAction.UPDATE_ADDON), ((0, 0), RemedyAction.UPDATE_SERVER)]
    )
    def test_a_server_without_a_common_version_is_refused_with_what_to_update(self, spoken, remedy):
        session = ClientSession("test 1")
        session.connected()
        with pytest.raises(ScumbleError) as caught:
            hears(session, Hello("server 9", "i", protocol=spoken))
        assert caught.value.code is ErrorCode.PROTOCOL_VERSION
        assert caught.value.info.remedy.action is remedy
        assert session.state is ClientState.REFUSED
        assert said(session) == []

    def test_a_newer_server_that_speaks_ours_too_is_fine(self):
        session = ClientSession("test 1")
        session.connected()
        hears(session, Hello("server 9", "i", protocol=(1, 4)))
        assert said(session) == [Identify("test 1")]

    def test_new_capabilities_replace_the_old(self):
        session, _ = ready_session()
        hears(session, ModelsChanged(Capabilities(device="cuda")))
        assert session.capabilities.device == "cuda"

    def test_models_are_asked_for_when_there_is_somebody_to_ask(self):
        session, _ = ready_session()
        session.list_models()
        assert said(session) == [ListModels()]
        session.disconnected()
        session.list_models()
        session.connected()
        assert said(session) == []


class TestSubmitting:
    def test_on_this_machine_tensors_go_first(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        assert said(session) == [upload(), Submit("j", JOB)]

    def test_elsewhere_the_server_is_asked_first(self):
        session, _ = ready_session(codec="zstd")
        session.submit("j", JOB, TENSORS)
        assert said(session) == [Submit("j", JOB)]
        hears(session, NeedTensors("j", (DIGEST,)))
        assert said(session) == [upload(), Submit("j", JOB)]

    def test_a_tensor_travels_once(self):
        session, _ = ready_session()
        session.submit("a", JOB, TENSORS)
        session.submit("b", JOB, TENSORS)
        assert said(session) == [upload(), Submit("a", JOB), Submit("b", JOB)]

    def test_a_tensor_of_a_one_off_name_travels_with_every_job_as_the_server_has_forgotten_it(self):
        session, _ = ready_session()
        once = f"once:{'0' * 32}:1"
        job = replace(JOB, init_image=once)
        for job_id in ("first", "second"):
            session.submit(job_id, job, {once: IMAGE})
            assert said(session) == [upload(once), Submit(job_id, job)]

    def test_unless_the_server_has_lost_it(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        said(session)
        hears(session, NeedTensors("j", (DIGEST,)))
        assert said(session) == [upload(), Submit("j", JOB)]

    def test_a_result_is_known_to_the_server(self):
        session, _ = ready_session()
        session.submit("a", PLAIN, {})
        said(session)
        session.receive(encode_binary(Result("a", 1, (describe("image/0", IMAGE, DIGEST),)), [IMAGE]))
        session.submit("b", JOB, TENSORS)
        assert said(session) == [Ack("a", 1), Submit("b", JOB)]

    def test_a_tensor_nobody_has_ends_the_job(self):
        session, _ = ready_session()
        session.submit("j", JOB, {})
        said(session)
        (problem,) = hears(session, NeedTensors("j", (DIGEST,)))
        assert isinstance(problem, Problem)
        assert session.pending == ()

    def test_a_server_that_never_keeps_a_tensor_is_not_asked_for_ever(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        full = ErrorInfo(ErrorCode.BUSY, "store is full", "tensors[0]", True)
        ends = []
        for _ in range(10):
            said(session)
            ends += [m for m in hears(session, Problem(full), NeedTensors("j", (DIGEST,))) if m == Problem(full, "j")]
        assert ends == [Problem(full, "j")]

    def test_uploads_that_were_cut_off_do_not_count(self):
        session, _ = ready_session(codec="zstd")
        session.submit("j", JOB, TENSORS)
        for _ in range(20):
            said(session)
            hears(session, NeedTensors("j", (DIGEST,)))
            session.disconnected()
            ready_session(codec="zstd", session=session)
        assert session.pending == ("j",)

    def test_large_tensors_travel_each_by_itself_and_small_ones_together(self):
        session, _ = ready_session()
        arrays = [np.full(size, i, np.uint8) for i, size in enumerate((10, 20, 400_000, 400_000))]
        tensors = {digest_of(array): array for array in arrays}
        small_image, small_mask, large_image, large_mask = tensors
        session.submit("a", GenerateJob("", init_image=small_image, mask=small_mask), tensors)
        session.submit("b", GenerateJob("", init_image=large_image, mask=large_mask), tensors)
        uploads = [message for message in said(session) if isinstance(message, Upload)]
        assert [len(message.tensors) for message in uploads] == [2, 1, 1]

    def test_an_id_that_is_pending_cannot_be_used_again(self):
        session, _ = ready_session()
        session.submit("j", PLAIN, {})
        with pytest.raises(ValueError, match="pending"):
            session.submit("j", PLAIN, {})


class TestEvents:
    def test_each_end_ends_the_job_and_is_acknowledged(self):
        error = ErrorInfo(ErrorCode.OUT_OF_MEMORY, "too big")
        for end in (Failed("j", 2, error), Cancelled("j", 2)):
            session, _ = ready_session()
            session.submit("j", PLAIN, {})
            said(session)
            assert hears(session, Accepted("j", 1), end) == [Accepted("j", 1), end]
            assert said(session) == [Ack("j", 2)]
            assert session.pending == ()

    def test_a_problem_with_a_job_ends_it(self):
        session, _ = ready_session()
        session.submit("j", PLAIN, {})
        said(session)
        problem = Problem(ErrorInfo(ErrorCode.BUSY, "full"), "j")
        assert hears(session, problem) == [problem]
        assert session.pending == ()

    def test_repeated_events_and_those_of_ended_jobs_are_not_told(self):
        session, _ = ready_session()
        session.submit("j", PLAIN, {})
        said(session)
        assert hears(session, Accepted("j", 1), Accepted("j", 1)) == [Accepted("j", 1)]
        hears(session, Cancelled("j", 2))
        assert hears(session, Cancelled("j", 2), Progress("j", "denoising"), Accepted("other", 1)) == []

    def test_what_a_newer_server_says_more_is_ignored(self):
        session, _ = ready_session()
        assert session.receive('{"type":"telepathy","job_id":"j"}') == []


class TestCancelling:
    def test_before_it_was_sent_nobody_hears_of_it(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        (end,) = session.cancel("j")
        assert end.message == Cancelled("j", 0)
        assert said(session) == []

    def test_overtakes_an_upload_that_is_half_sent(self):
        session, _ = ready_session()
        session.submit("running", PLAIN, {})
        said(session)
        array = np.zeros(2_000_000, np.uint8)
        session.submit("big", GenerateJob("", init_image=digest_of(array)), {digest_of(array): array})
        assert isinstance(session.next_frame(), bytes)
        session.cancel("running")
        assert decode_text(session.next_frame(), ClientMessage) == Cancel("running")
        assert isinstance(session.next_frame(), bytes)

    def test_is_said_once(self):
        session, _ = ready_session()
        session.submit("j", PLAIN, {})
        said(session)
        session.cancel("j")
        session.cancel("j")
        assert said(session) == [Cancel("j")]

    def test_while_the_server_asks_for_tensors(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        said(session)
        session.cancel("j")
        assert hears(session, NeedTensors("j", (DIGEST,))) == [Cancelled("j", 0)]
        assert hears(session, Problem(ErrorInfo(ErrorCode.UNKNOWN_JOB, "?"), "j")) == []

    def test_of_an_unknown_job_is_nothing(self):
        session, _ = ready_session()
        assert session.cancel("nothing") == []
        assert said(session) == []


class TestReconnecting:
    def running(self):
        session, _ = ready_session()
        session.submit("j", JOB, TENSORS)
        said(session)
        hears(session, Accepted("j", 1))
        session.disconnected()
        return session

    def test_a_job_the_server_still_knows_is_resumed(self):
        session, identify = ready_session(resumed=("j",), session=self.running())
        assert identify.resume == (ResumePoint("j", 1),)
        assert said(session) == []
        assert hears(session, Accepted("j", 1), Cancelled("j", 2)) == [Cancelled("j", 2)]

    def test_one_it_has_forgotten_is_submitted_again(self):
        session, _ = ready_session(session=self.running())
        assert said(session) == [Submit("j", JOB)]
        assert hears(session, Accepted("j", 1)) == [Accepted("j", 1)]

    def test_another_server_is_told_everything_anew(self):
        session, identify = ready_session(instance="two", session=self.running())
        assert identify.resume == ()
        assert said(session) == [upload(), Submit("j", JOB)]

    def test_a_cancel_while_away_is_said_on_return(self):
        session = self.running()
        session.cancel("j")
        session, _ = ready_session(resumed=("j",), session=session)
        assert said(session) == [Cancel("j")]

    def test_or_is_the_end_if_the_server_does_not_know_the_job(self):
        session = self.running()
        session.cancel("j")
        session.connected()
        hears(session, Hello("server 1", "one"))
        assert hears(session, Ready(1, Capabilities()))[1:] == [Cancelled("j", 1)]

    def test_an_acknowledgement_that_may_be_lost_is_repeated(self):
        session, _ = ready_session()
        session.submit("j", PLAIN, {})
        said(session)
        hears(session, Cancelled("j", 1))
        session.disconnected()
        session, _ = ready_session(session=session)
        assert said(session) == [Ack("j", 1)]


class TestGarbage:
    @given(st.binary(max_size=80) | st.text(max_size=80))
    def test_is_a_typed_error(self, data):
        session, _ = ready_session()
        code = error_code(lambda: session.receive(data))
        assert code in (None, ErrorCode.INVALID_MESSAGE, ErrorCode.INVALID_FIELD, ErrorCode.TOO_LARGE)

    def test_a_server_cannot_raise_what_the_client_accepts(self):
        session = ClientSession("test 1", limits=Limits(transfer_bytes=1000))
        session.connected()
        hears(session, Hello("server 1", "one", limits=Limits(transfer_bytes=2**60)))
        assert session.limits.transfer_bytes == 2**60
        announced = b"SCMP\x01\0\0\0" + (2**50).to_bytes(8, "little") + b"x"
        assert error_code(lambda: session.receive(announced)) is ErrorCode.TOO_LARGE
