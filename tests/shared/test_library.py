"""Library jobs: what of them makes sense, and answers there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from messages_made_up import of
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.library import LIBRARY_ACTIONS, LibraryAnswer, LibraryJob, answer_tensor, read_answer
from scumble_shared.messages import Capabilities
from scumble_shared.validate import validate_job


def refusal(job: LibraryJob, capabilities: Capabilities | None = None) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        validate_job(job, capabilities=capabilities)
    return caught.value


@given(of(LibraryAnswer))
def test_an_answer_arrives_as_it_was_sent(answer):
    assert read_answer(answer_tensor(answer)) == answer


@pytest.mark.parametrize("action", LIBRARY_ACTIONS)
def test_every_action_but_the_list_needs_to_be_told_what(action):
    validate_job(LibraryJob(action, "sd15", confirmed=True))
    if action == "list":
        validate_job(LibraryJob(action))
    else:
        assert refusal(LibraryJob(action, "  ", confirmed=True)).info.field == "job.target"


@pytest.mark.parametrize(
    ("job", "field", "code"),
    [
        (LibraryJob("burn", "sd15"), "job.action", ErrorCode.INVALID_FIELD),
        (LibraryJob("delete", "sd15"), "job.confirmed", ErrorCode.INVALID_FIELD),
        (LibraryJob("get", "x" * 4097), "job.target", ErrorCode.TOO_LARGE),
        (LibraryJob("get", "sd15\n"), "job.target", ErrorCode.INVALID_FIELD),
        (LibraryJob("get", "a/b", files=("a\x00",)), "job.files[0]", ErrorCode.INVALID_FIELD),
        (LibraryJob("get", "a/b", files=("a",) * 65), "job.files", ErrorCode.TOO_LARGE),
        (LibraryJob("get", "https://x/y", sha256="12"), "job.sha256", ErrorCode.INVALID_FIELD),
    ],
)
def test_nonsense_is_refused_by_field(job, field, code):
    error = refusal(job)
    assert (error.info.field, error.code) == (field, code)


def test_a_server_that_looks_after_no_models_says_so():
    assert refusal(LibraryJob("list"), Capabilities(tasks=("generate",))).code is ErrorCode.UNSUPPORTED
