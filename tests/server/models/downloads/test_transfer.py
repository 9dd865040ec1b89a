"""One file over HTTP: it arrives as it was sent or not at all, and what has arrived is used again."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest
from file_server import chunked, drip, drop, git_sha1, length_of, other_total, stall, status, wrong_range
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scumble_server.models.transfer import Source, fetch
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError

BODY = os.urandom(700_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
CUT = 300_000


def part(target):
    return target.with_name(f"{target.name}.part")


def note(target):
    return target.with_name(f"{target.name}.part.json")


def ranges(server):
    return [seen.headers.get("Range") for seen in server.seen]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "model.safetensors"


@pytest.fixture
def refusal(target, network, watch):
    """Fetches and returns the error; its own target must not have appeared."""

    def refusal(source, network=network):
        with pytest.raises(ScumbleError) as caught:
            fetch(source, target, network, watch)
        assert not target.exists()
        return caught.value

    return refusal


def assert_arrived(target, body=BODY):
    assert target.read_bytes() == body
    assert [path.name for path in target.parent.iterdir()] == [target.name]


# --- good days --------------------------------------------------------------------------------------


def test_a_file_arrives_whole_with_its_checksum_and_progress(server, network, target, watch):
    fetched = fetch(Source(server.put("/f", BODY)), target, network, watch)
    assert (fetched.size, fetched.sha256) == (len(BODY), SHA256)
    assert_arrived(target)
    assert watch.steps == sorted(watch.steps)
    assert watch.steps[-1] == (len(BODY), len(BODY))


def test_checksums_of_git_are_understood(server, network, target, watch):
    fetch(Source(server.put("/f", BODY), len(BODY), git_sha1=git_sha1(BODY)), target, network, watch)
    assert_arrived(target)


def test_an_empty_file_is_a_file(server, network, target, watch):
    fetch(Source(server.put("/f", b""), 0), target, network, watch)
    assert_arrived(target, b"")


def test_a_body_in_chunks_arrives(server, network, target, watch):
    fetch(Source(server.put("/f", BODY, chunked())), target, network, watch)
    assert_arrived(target)


def test_what_was_there_before_is_replaced(server, network, target, watch):
    target.parent.mkdir()
    target.write_bytes(b"old")
    fetch(Source(server.put("/f", BODY)), target, network, watch)
    assert_arrived(target)


# --- drops, stalls and going on ---------------------------------------------------------------------


def test_after_a_drop_only_the_rest_is_asked_for(server, network, target, watch):
    fetch(Source(server.put("/f", BODY, drop(CUT))), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, f"bytes={CUT}-"]
    assert server.seen[1].headers["If-Range"] == '"v1"'


def test_a_later_run_goes_on_where_the_first_gave_up(server, network, target, watch, refusal):
    source = Source(server.put("/f", BODY, drop(CUT)))
    error = refusal(source, replace(network, attempts=1))
    assert (error.code, error.info.retryable, error.info.field) == (ErrorCode.DOWNLOAD_FAILED, True, "url")
    assert error.info.remedy.action is RemedyAction.RETRY
    assert part(target).read_bytes() == BODY[:CUT]
    fetch(source, target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, f"bytes={CUT}-"]


def test_cancelling_keeps_what_has_arrived(server, network, target, watch, watch_until):
    source = Source(server.put("/f", BODY))
    with pytest.raises(watch_until.Stopped):
        fetch(source, target, network, watch_until(stop_at=1))
    kept = part(target).stat().st_size
    assert 0 < kept <= len(BODY)
    assert not target.exists()
    fetch(source, target, network, watch)
    assert_arrived(target)


def test_cancelling_ends_a_pause_between_attempts(server, network, target, watch_until):
    """The pause would be of five minutes."""
    watch = watch_until()
    watch.check_cancelled = lambda: server.seen and (_ for _ in ()).throw(watch.Stopped)
    source = Source(server.put("/f", BODY, status(503, Retry_After="300")))
    with pytest.raises(watch.Stopped):
        fetch(source, target, network, watch)


def test_a_stalled_connection_is_given_up_and_taken_up_again(server, network, target, watch):
    fetch(Source(server.put("/f", BODY, stall(CUT))), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, f"bytes={CUT}-"]


def test_a_server_that_always_stalls_is_named(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY, *[stall(0)] * 3)))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "stalled" in str(error)
    assert "3 attempts" in str(error)
    assert not part(target).exists()


def test_a_connection_that_only_drips_counts_as_stalled(server, network, target, watch):
    slow = replace(network, timeout=0.2, minimum_rate=10_000)
    fetch(Source(server.put("/f", BODY, drip)), target, slow, watch)
    assert_arrived(target)
    first, second = ranges(server)
    assert first is None
    assert 1 < int(second.removeprefix("bytes=").removesuffix("-")) < 100


def test_progress_gives_a_bad_line_new_attempts(server, network, target, watch):
    """More drops than attempts, each with something gained."""
    body = os.urandom(3_000_000)
    fetch(Source(server.put("/f", body, *[drop(400_000)] * 6)), target, network, watch)
    assert_arrived(target, body)


def test_a_server_without_ranges_that_always_drops_is_given_up(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY, *[drop(CUT)] * 50, ranges=False)))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert len(server.seen) <= 2 * network.attempts


def test_a_server_that_ignores_ranges_starts_again(server, network, target, watch):
    fetch(Source(server.put("/f", BODY, drop(CUT), ranges=False)), target, network, watch)
    assert_arrived(target)


def test_a_file_that_changed_between_the_runs_is_fetched_anew(server, network, target, watch, refusal):
    source = Source(server.put("/f", BODY, drop(CUT)))
    refusal(source, replace(network, attempts=1))
    changed = os.urandom(500_000)
    server.put("/f", changed, etag='"v2"')
    fetch(source, target, network, watch)
    assert_arrived(target, changed)


def test_another_address_for_the_same_place_does_not_go_on_with_the_old_part(server, network, target, watch, refusal):
    refusal(Source(server.put("/old", BODY, drop(CUT))), replace(network, attempts=1))
    fetch(Source(server.put("/new", BODY[::-1])), target, network, watch)
    assert_arrived(target, BODY[::-1])
    assert ranges(server) == [None, None]


def test_a_weak_etag_is_no_ground_to_go_on_from(server, network, target, watch, refusal):
    """RFC 9110, 13.1.5: If-Range needs a strong one."""
    source = Source(server.put("/f", BODY, drop(CUT), etag='W/"v1"'))
    refusal(source, replace(network, attempts=1))
    fetch(source, target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, None]


def test_a_known_checksum_is_enough_to_go_on(server, network, target, watch, refusal):
    source = Source(server.put("/f", BODY, drop(CUT), etag='W/"v1"'), sha256=SHA256)
    refusal(source, replace(network, attempts=1))
    fetch(source, target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize("fault", [wrong_range, other_total, status(416)])
def test_a_wrong_answer_to_a_range_starts_afresh(server, network, target, watch, fault):
    fetch(Source(server.put("/f", BODY, drop(CUT), fault), len(BODY)), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None, f"bytes={CUT}-", None]


def test_a_part_that_is_whole_needs_no_request(server, network, target, watch):
    target.parent.mkdir()
    part(target).write_bytes(BODY)
    fetch(Source(server.put("/f", BODY), len(BODY), SHA256), target, network, watch)
    assert_arrived(target)
    assert server.seen == []


def test_a_part_that_is_whole_without_anyone_knowing_its_size_is_recognised(server, network, target, watch):
    target.parent.mkdir()
    part(target).write_bytes(BODY)
    fetch(Source(server.put("/f", BODY), sha256=SHA256), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [f"bytes={len(BODY)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(server, network, target, watch):
    target.parent.mkdir()
    part(target).write_bytes(BODY + b"!")
    fetch(Source(server.put("/f", BODY), len(BODY), SHA256), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [None]


def test_a_damaged_part_is_found_out_and_fetched_anew(server, network, target, watch):
    target.parent.mkdir()
    part(target).write_bytes(b"x" * CUT)
    fetch(Source(server.put("/f", BODY), len(BODY), SHA256), target, network, watch)
    assert_arrived(target)
    assert ranges(server) == [f"bytes={CUT}-", None]


@pytest.mark.parametrize("text", ["", "[]", "{}", "{not json", '{"url": 3, "total": "x"}'])
def test_a_damaged_note_beside_the_part_does_no_harm(server, network, target, watch, text):
    target.parent.mkdir()
    part(target).write_bytes(BODY[:CUT])
    note(target).write_text(text)
    fetch(Source(server.put("/f", BODY)), target, network, watch)
    assert_arrived(target)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 5000), max_size=4),
    with_ranges=st.booleans(),
    chunks=st.booleans(),
    etag=st.sampled_from(['"v1"', 'W/"v1"', ""]),
    told=st.booleans(),
)
def test_whatever_the_line_does_the_file_is_right_or_absent(
    server, network, tmp_path_factory, cuts, with_ranges, chunks, etag, told
):
    body = BODY[:5000]
    target = tmp_path_factory.mktemp("any") / "f"
    faults = [drop(cut) for cut in cuts] + [chunked()] * chunks
    url = server.put("/any", body, *faults, ranges=with_ranges, etag=etag)
    source = Source(url, len(body), hashlib.sha256(body).hexdigest()) if told else Source(url)
    try:
        fetch(source, target, network, type("Quiet", (), {"progress": print_nothing, "check_cancelled": print_nothing}))
    except ScumbleError as error:
        assert error.code is ErrorCode.DOWNLOAD_FAILED  # noqa: PT017 - it may succeed as well
        assert not target.exists()
    else:
        assert_arrived(target, body)


def print_nothing(*_arguments):
    return None


# --- lies -------------------------------------------------------------------------------------------


def test_a_size_other_than_expected_is_refused_before_a_byte_is_taken(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY), len(BODY) + 1))
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "size")
    assert f"{len(BODY)} bytes there instead of {len(BODY) + 1}" in str(error)
    assert list(target.parent.iterdir()) == []


def test_more_bytes_than_there_may_be_are_not_kept(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY, chunked(extra=b"x" * 200_000)), len(BODY)))
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "size")
    assert list(target.parent.iterdir()) == []


def test_a_length_longer_than_the_body_is_told_as_an_early_end(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY, *[length_of(len(BODY) + 9)] * 3)))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "ended 9 bytes too early" in str(error)
    assert part(target).read_bytes() == BODY


def test_chunks_without_an_end_are_a_drop(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY, *[chunked(cut=True)] * 3)))
    assert (error.code, error.info.retryable) == (ErrorCode.DOWNLOAD_FAILED, True)


def test_a_wrong_checksum_is_told_and_nothing_stays(server, network, target, refusal):
    error = refusal(Source(server.put("/f", BODY), len(BODY), "0" * 64))
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "sha256")
    assert SHA256 in str(error)
    assert error.info.remedy is not None
    assert list(target.parent.iterdir()) == []
    assert len(server.seen) == 1


def test_a_wrong_git_checksum_is_told(server, refusal):
    assert refusal(Source(server.put("/f", BODY), len(BODY), git_sha1="0" * 40)).code is ErrorCode.MODEL_INVALID


def test_a_compressed_body_is_refused(server, refusal):
    error = refusal(Source(server.put("/f", BODY, status(200, Content_Encoding="gzip"))))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "compressed" in str(error)


def test_an_absurd_size_is_refused(server, refusal):
    assert refusal(Source(server.put("/f", BODY, length_of(10**15)))).code is ErrorCode.TOO_LARGE


# --- disks ------------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_told_before_a_byte_is_taken(server, target, network, refusal, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, len(BODY) - 1))
    error = refusal(Source(server.put("/f", BODY)))
    assert (error.code, error.info.field) == (ErrorCode.DISK_FULL, "folder")
    assert "0.7 MB are still to come" in str(error)
    assert error.info.remedy.label.startswith("Free 0.0 MB")
    assert list(target.parent.iterdir()) == []


def test_room_for_exactly_the_file_and_the_reserve_is_enough(server, target, network, watch, refusal, monkeypatch):
    source, reserved = Source(server.put("/f", BODY)), replace(network, disk_reserve=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, len(BODY) + 999))
    assert refusal(source, reserved).code is ErrorCode.DISK_FULL
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, len(BODY) + 1000))
    fetch(source, target, reserved, watch)
    assert_arrived(target)


def test_a_disk_that_fills_up_underway_keeps_what_has_arrived(server, tiny_disk, network, watch):
    """Nobody told the size, so only the disk itself could."""
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(200 * 1024))
    body, target = BODY[:400_000], tiny_disk / "f"
    source = Source(server.put("/f", body, chunked()), sha256=hashlib.sha256(body).hexdigest())
    with pytest.raises(ScumbleError) as caught:
        fetch(source, target, network, watch)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert caught.value.__cause__.errno == errno.ENOSPC
    kept = part(target).stat().st_size
    assert part(target).read_bytes() == body[:kept]
    filler.unlink()
    fetch(source, target, network, watch)
    assert target.read_bytes() == body
    assert ranges(server) == [None, f"bytes={kept}-"]


def test_a_folder_that_cannot_be_written_is_told(server, network, watch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ScumbleError) as caught:
        fetch(Source(server.put("/f", BODY)), tmp_path / "file" / "f", network, watch)
    assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "folder")
