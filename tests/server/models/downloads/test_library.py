"""The library keeps what it was given, notices damage, and deletes only what is its own and not in use."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import threading
from collections import namedtuple
from dataclasses import replace

import pytest
from scumble_server.models.library import Library, LibraryFile, LibraryRecord, lease
from scumble_server.models.library_import import import_model
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError

RECORD = LibraryRecord(
    id="mine",
    name="Mine",
    kind="checkpoint",
    family="sd15",
    licence="CC0",
    source="owner/name",
    revision="a" * 40,
    single=True,
    linked=False,
    added="2026-01-01T00:00:00+00:00",
    files=(LibraryFile("model.safetensors", 4, hashlib.sha256(b"data").hexdigest()),),
)
CONTROLNET = "controlnet_cond_embedding.conv_in.weight"
CONTEXT = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def refused(call, *arguments, **options) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def mine(library):
    """A single-file model in the library."""
    incoming = library.incoming("mine")
    incoming.parent.mkdir(parents=True)
    incoming.write_bytes(b"data")
    library.install(RECORD, incoming)
    return RECORD


@pytest.fixture
def take(library, watch, network):
    def take(path, **options):
        return import_model(library, path, watch, network, **options)

    return take


# --- records ----------------------------------------------------------------------------------------


def test_a_record_reads_back_equal(library, mine):
    assert library.records() == (mine,)
    assert library.record("mine") == mine
    assert library.location(mine).read_bytes() == b"data"
    assert library.has("mine")
    assert mine.size == 4


def test_an_empty_library_is_no_error(library):
    assert library.records() == ()
    assert refused(library.record, "mine").code is ErrorCode.MODEL_MISSING


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../evil"},
        {"id": "other"},
        {"files": [{"path": "../../evil.safetensors", "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": "a.safetensors", "size": "1", "sha256": "0" * 64}]},
        {"files": [{"path": "a.safetensors", "size": 1, "sha256": "x"}]},
        {"files": 3},
        {"licence": None},
        {"single": "yes"},
    ],
)
def test_a_record_that_was_tampered_with_is_no_record(library, mine, change):
    path = library.folder / ".scumble" / "records" / "mine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert library.records() == ()
    assert refused(library.delete, "mine", confirmed=True).code is ErrorCode.MODEL_MISSING
    assert library.location(RECORD).exists()


def test_installing_again_replaces(library, mine):
    incoming = library.incoming("mine")
    incoming.mkdir()
    (incoming / "model.safetensors").write_bytes(b"new")
    library.install(replace(mine, revision="b" * 40), incoming / "model.safetensors")
    assert library.location(mine).read_bytes() == b"new"
    assert library.record("mine").revision == "b" * 40
    assert list((library.folder / ".scumble" / "trash").iterdir()) == []


def test_files_put_there_by_hand_are_not_overwritten(library):
    library.folder.mkdir()
    (library.folder / "Mine.safetensors").write_bytes(b"by hand")
    assert refused(library.check_free, "mine").code is ErrorCode.IN_USE
    library.check_free("other")


# --- verify -----------------------------------------------------------------------------------------


def test_verify_reads_every_byte(library, mine):
    counted = []
    assert library.verify("mine", counted.append) == ()
    assert sum(counted) == 4


@pytest.mark.parametrize(
    ("content", "words"), [(b"datA", "checksum differs"), (b"dat", "3 bytes instead of 4"), (None, "is missing")]
)
def test_verify_tells_what_is_wrong(library, mine, content, words):
    place = library.location(mine)
    place.unlink() if content is None else place.write_bytes(content)
    (problem,) = library.verify("mine")
    assert words in problem


# --- delete -----------------------------------------------------------------------------------------


def test_delete_wants_to_be_meant(library, mine):
    error = refused(library.delete, "mine", confirmed=False)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "confirmed")
    assert library.has("mine")


def test_delete_removes_files_and_record(library, mine):
    assert library.delete("mine", confirmed=True) == 4
    assert library.records() == ()
    assert [path.name for path in library.folder.iterdir()] == [".scumble"]
    assert list((library.folder / ".scumble" / "trash").iterdir()) == []


@pytest.mark.parametrize("name", ["../mine", "..", "/etc", "C:\\x", "mine\0", "nul", "mine/../mine"])
def test_delete_takes_ids_only(library, mine, name):
    assert refused(library.delete, name, confirmed=True).code is ErrorCode.INVALID_FIELD


def test_what_somebody_put_there_by_hand_is_not_deleted(library):
    library.folder.mkdir()
    (library.folder / "byhand.safetensors").write_bytes(b"x")
    assert refused(library.delete, "byhand", confirmed=True).code is ErrorCode.MODEL_MISSING


@pytest.mark.usefixtures("links")
def test_a_link_that_took_the_models_place_goes_and_its_target_stays(library, mine, tmp_path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "keep").write_bytes(b"x")
    library.location(mine).unlink()
    library.location(mine).symlink_to(treasure, target_is_directory=True)
    library.delete("mine", confirmed=True)
    assert (treasure / "keep").exists()


def test_a_model_that_is_gone_already_loses_its_record(library, mine):
    library.location(mine).unlink()
    library.delete("mine", confirmed=True)
    assert library.records() == ()


# --- locks ------------------------------------------------------------------------------------------


def test_a_model_in_use_is_not_deleted(library, mine):
    with library.using("mine"), library.using("mine"):
        error = refused(library.delete, "mine", confirmed=True)
        assert (error.code, error.info.retryable) == (ErrorCode.IN_USE, True)
        assert "loaded by a running server" in str(error)
    library.delete("mine", confirmed=True)


def test_a_lease_by_path_is_for_whoever_loads_what_the_index_found(library, take, tmp_path, weights):
    path = tmp_path / "Depth.safetensors"
    path.write_bytes(weights(CONTROLNET, CONTEXT))
    take(path)
    index = scan((library.folder,), builtin=False)
    (found,) = [entry.path for entry in (*index.controlnets, *index.unusable)]
    with lease(found):
        assert refused(library.delete, "depth", confirmed=True).code is ErrorCode.IN_USE
    library.delete("depth", confirmed=True)


def test_a_lease_on_what_is_not_of_the_library_is_no_trouble(library, tmp_path):
    for path in (library.folder / "byhand.safetensors", tmp_path / "elsewhere" / "Any Name.safetensors"):
        with lease(path):
            pass


def test_a_model_being_changed_is_neither_used_nor_changed(library, mine):
    with library.changing("mine"):
        for attempt in (library.using, library.changing):
            with pytest.raises(ScumbleError) as caught, attempt("mine"):
                pass
            assert caught.value.code is ErrorCode.IN_USE
        with library.using("another"):
            pass
    with library.using("mine"):
        pass


def hold(folder, ready):
    with Library(folder).using("mine"):
        ready.set()
        threading.Event().wait(60)


def test_the_use_of_a_process_that_died_does_not_count(library, mine):
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=hold, args=(library.folder, ready))
    process.start()
    try:
        assert ready.wait(60)
        assert refused(library.delete, "mine", confirmed=True).code is ErrorCode.IN_USE
    finally:
        process.kill()
        process.join()
    library.delete("mine", confirmed=True)
    assert list((library.folder / ".scumble" / "locks" / "mine").iterdir()) == []


def test_a_library_that_cannot_be_written_can_be_used_but_not_changed(tmp_path, weights, watch, network):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / ".scumble").write_bytes(b"in the way")
    library = Library(tmp_path / "library")
    with library.using("mine"):
        pass
    (tmp_path / "m.safetensors").write_bytes(weights())
    error = refused(import_model, library, tmp_path / "m.safetensors", watch, network)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "folder")


# --- import -----------------------------------------------------------------------------------------


def test_a_file_is_copied_with_its_checksum(library, take, tmp_path, weights, watch):
    body = weights(CONTROLNET, CONTEXT)
    path = tmp_path / "My Depth_v2.safetensors"
    path.write_bytes(body)
    record = take(path, licence="CC0")
    assert (record.id, record.kind, record.licence, record.linked) == ("my-depth-v2", "controlnet", "CC0", False)
    assert library.location(record).read_bytes() == body
    assert record.files[0].sha256 == hashlib.sha256(body).hexdigest()
    assert library.verify(record.id) == ()
    assert watch.steps[-1] == (len(body), len(body))


def test_the_index_finds_it_under_the_same_id(library, take, tmp_path, weights):
    path = tmp_path / "Depth.safetensors"
    path.write_bytes(weights(CONTROLNET, CONTEXT))
    record = take(path)
    index = scan((library.folder,), builtin=False)
    assert [entry.id for entry in (*index.controlnets, *index.unusable)] == [record.id]


def test_a_folder_is_copied_without_what_could_run(library, take, tmp_path, weights):
    folder = tmp_path / "Depth Net"
    folder.mkdir()
    (folder / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(weights(CONTROLNET))
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "evil.py").write_text("import os")
    record = take(folder)
    assert (record.id, record.single, record.kind) == ("depth-net", False, "controlnet")
    kept = sorted(path.name for path in library.location(record).iterdir())
    assert kept == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert library.verify(record.id) == ()


@pytest.mark.usefixtures("links")
def test_a_model_can_be_read_where_it_is(library, take, tmp_path, weights):
    path = tmp_path / "big.safetensors"
    path.write_bytes(weights())
    record = take(path, link=True)
    assert library.location(record).is_symlink()
    assert library.verify("big") == ()
    path.write_bytes(weights(seed=1))
    assert "checksum differs" in library.verify("big")[0]
    assert library.delete("big", confirmed=True) == 0
    assert path.exists()
    assert library.records() == ()


@pytest.mark.usefixtures("links")
def test_a_folder_can_be_read_where_it_is(library, take, tmp_path, weights):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(weights(CONTROLNET))
    record = take(folder, link=True, model_id="linked-net")
    assert library.verify("linked-net") == ()
    library.delete(record.id, confirmed=True)
    assert len(list(folder.iterdir())) == 2


def test_importing_again_replaces(library, take, tmp_path, weights):
    path = tmp_path / "m.safetensors"
    for seed in (1, 2):
        path.write_bytes(weights(seed=seed))
        take(path)
    assert library.location(library.record("m")).read_bytes() == weights(seed=2)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("m.safetensors", b"", ErrorCode.MODEL_INVALID, "empty"),
        ("m.safetensors", b"\x80\x04pickle....", ErrorCode.MODEL_INVALID, "pickle"),
        ("m.safetensors", b"<html>Please log in</html>", ErrorCode.MODEL_INVALID, "not a .safetensors"),
        ("m.ckpt", b"x", ErrorCode.MODEL_INVALID, "run code"),
        ("m.zip", b"x", ErrorCode.MODEL_INVALID, "no kind of file"),
        ("config.json", b"{}", ErrorCode.MODEL_INVALID, "no kind of file"),
    ],
)
def test_what_is_no_sound_model_stays_out(library, take, tmp_path, name, content, code, words):
    (tmp_path / name).write_bytes(content)
    error = refused(take, tmp_path / name)
    assert error.code is code
    assert words in str(error)
    assert library.records() == ()


def test_a_truncated_file_stays_out(take, tmp_path, weights):
    path = tmp_path / "m.safetensors"
    path.write_bytes(weights()[:-100])
    assert "cut off" in str(refused(take, path))


def test_a_folder_of_pickles_stays_out(take, tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"x")
    assert refused(take, folder).code is ErrorCode.MODEL_INVALID


def test_nothing_there_is_told(take, tmp_path):
    error = refused(take, tmp_path / "none.safetensors")
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "path")


def test_an_import_that_would_not_fit_is_refused_at_once(library, take, tmp_path, weights, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(weights())
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 100))
    assert refused(take, path).code is ErrorCode.DISK_FULL
    assert not (library.folder / "m.safetensors").exists()


def test_an_import_that_fills_the_disk_leaves_nothing_behind(tiny_disk, tmp_path, weights, watch, network, monkeypatch):
    """The disk said it had room, as disks shared with others do."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(weights(size=512))
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**9))
    library = Library(tiny_disk / "library")
    assert refused(import_model, library, path, watch, network).code is ErrorCode.DISK_FULL
    assert library.records() == ()
    assert library.unfinished() == {}


def test_an_import_of_a_model_in_use_waits_for_its_user(library, take, tmp_path, weights):
    path = tmp_path / "m.safetensors"
    path.write_bytes(weights())
    take(path)
    with library.using("m"):
        assert refused(take, path).code is ErrorCode.IN_USE
    take(path)
