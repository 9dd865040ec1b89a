"""A model from a hub: the right files at a pinned commit, whole in the library or not there at all."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest
from file_server import drop, stall, status
from scumble_server.models.catalogue import CatalogueEntry
from scumble_server.models.download import download, plan_entry, plan_repository, plan_url
from scumble_server.models.download_hub import choose_files, list_repository
from scumble_server.models.library import Library
from scumble_server.models.scan import scan
from scumble_shared.errors import ErrorCode, ScumbleError

COMMIT, LATER = "a" * 40, "b" * 40
CONTROLNET = ("controlnet_cond_embedding.conv_in.weight",)
ENTRY = CatalogueEntry("net", "A net", "controlnet", "sd15", "OpenRAIL", "owner/net", 0.1, "about", revision=COMMIT)
Usage = namedtuple("Usage", "total used free")


def refused(call, *arguments, **options) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def net(server, weights):
    """A ControlNet as on the hub: settings, weights in two precisions and two formats, and things nobody needs."""
    files = {
        "config.json": b'{"_class_name": "ControlNetModel", "cross_attention_dim": 768}',
        "diffusion_pytorch_model.bin": b"pickle",
        "diffusion_pytorch_model.safetensors": weights(*CONTROLNET, seed=1),
        "diffusion_pytorch_model.fp16.safetensors": weights(*CONTROLNET, seed=2),
        "README.md": b"# card",
        "images/input.png": b"png",
        "control_net.py": b"import os",
    }
    server.put_repository("owner/net", COMMIT, files, license="openrail")
    return files


@pytest.fixture
def get(library, network, watch):
    def get(plan, network=network, watch=watch):
        return download(plan, library, network, watch)

    return get


def files_of(library):
    """Everything a user or the index can see there."""
    found = (path for path in library.folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(library.folder).as_posix() for path in found if ".scumble" not in path.parts)


def parts_of(library):
    return sorted(path.name for path in (library.folder / ".scumble" / "incoming").rglob("*") if path.is_file())


# --- listing ----------------------------------------------------------------------------------------


def test_a_branch_is_resolved_to_its_commit(server, network, watch, net):
    repository = list_repository("owner/net", "main", network, watch)
    assert (repository.commit, repository.licence) == (COMMIT, "openrail")
    by_path = {file.path: file for file in repository.files}
    assert by_path["config.json"].git_sha1
    assert by_path["diffusion_pytorch_model.safetensors"].size == len(net["diffusion_pytorch_model.safetensors"])


@pytest.mark.parametrize(
    "name",
    ["", "name", "../etc/passwd", "owner/../x", "owner/name/more", "ow ner/n", "/owner/name", "owner/n?x", "o\\n"],
)
def test_what_is_no_repository_is_refused_without_a_request(server, network, watch, name):
    assert refused(list_repository, name, "main", network, watch).info.field == "repo"
    assert server.seen == []


@pytest.mark.parametrize("revision", ["refs/pr/1", "../../x", "main?x=y", "ü"])
def test_a_revision_is_one_part_of_the_address(server, network, watch, net, revision):
    assert refused(list_repository, "owner/net", revision, network, watch).code is ErrorCode.MODEL_MISSING
    assert server.seen[0].path.startswith("/api/models/owner/net/revision/")
    assert server.seen[0].path.count("/") == 6
    assert server.seen[0].path.count("?") == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Please log in to the hotel network</html>",
        b"[]",
        b"{}",
        b'{"sha": "main", "siblings": []}',
        b'{"sha": "%s", "siblings": 3}' % COMMIT.encode(),
        b'{"sha": "%s", "siblings": [{"rfilename": 3}]}' % COMMIT.encode(),
        b'{"sha": "%s", "siblings": [{"rfilename": "a", "size": -1}]}' % COMMIT.encode(),
        b'{"sha": "%s", "siblings": [{"rfilename": "a", "size": 1, "lfs": {"sha256": "../x"}}]}' % COMMIT.encode(),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_listing_is_told(server, network, watch, answer):
    server.put("/api/models/owner/net/revision/main", answer)
    error = refused(list_repository, "owner/net", "main", network, watch)
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "login page" in error.info.remedy.label


def test_a_listing_that_breaks_off_is_asked_for_again(server, network, watch, net):
    server.resources["/api/models/owner/net/revision/main"].faults += [drop(50), stall(10)]
    assert list_repository("owner/net", "main", network, watch).commit == COMMIT


def test_a_hub_that_answers_with_another_commit_than_the_pin_is_caught(server, network, watch, net):
    listing = server.resources[f"/api/models/owner/net/revision/{COMMIT}"].body
    server.put(f"/api/models/owner/net/revision/{LATER}", listing)
    error = refused(list_repository, "owner/net", LATER, network, watch)
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "revision")


# --- choosing ---------------------------------------------------------------------------------------


@pytest.fixture
def choose(server, network, watch):
    def choose(*paths, wanted=()):
        server.put_repository("owner/any", COMMIT, dict.fromkeys(paths, b"x"))
        chosen = choose_files(list_repository("owner/any", COMMIT, network, watch), wanted)
        return {local: file.path for local, file in chosen.items()}

    return choose


def test_of_a_pipeline_each_component_comes_once_in_half_precision(choose):
    chosen = choose(
        "README.md",
        "model_index.json",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "scheduler/scheduler_config.json",
        "scumble_model.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/model.onnx",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "vae_1_0/config.json",
        "vae_1_0/diffusion_pytorch_model.safetensors",
        "vae_decoder/config.json",
    )
    assert chosen == {
        "model_index.json": "model_index.json",
        "scheduler/scheduler_config.json": "scheduler/scheduler_config.json",
        "scumble_model.json": "scumble_model.json",
        "text_encoder/config.json": "text_encoder/config.json",
        "text_encoder/model.safetensors": "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt": "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json": "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json": "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json": "tokenizer/vocab.json",
        "unet/config.json": "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors": "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json": "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors": "vae/diffusion_pytorch_model.safetensors",
    }


def test_weights_in_pieces_come_with_their_index(choose):
    pieces = [f"transformer/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "transformer/diffusion_pytorch_model.safetensors.index.json"
    chosen = choose("model_index.json", "transformer/config.json", index, *pieces)
    assert set(chosen) == {"model_index.json", "transformer/config.json", index, *pieces}


def test_one_file_alone_is_the_model(choose):
    assert choose("README.md", "lora.safetensors") == {"lora.safetensors": "lora.safetensors"}


def test_among_several_one_must_be_named(choose):
    with pytest.raises(ScumbleError) as caught:
        choose("a.safetensors", "b.safetensors")
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert "a.safetensors, b.safetensors" in str(caught.value)
    assert choose("a.safetensors", "b.safetensors", wanted=("b.safetensors",)) == {"b.safetensors": "b.safetensors"}


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (["model.ckpt"], ErrorCode.MODEL_INVALID),
        (["config.json", "diffusion_pytorch_model.bin"], ErrorCode.MODEL_INVALID),
        (["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"], ErrorCode.MODEL_INVALID),
        (["README.md"], ErrorCode.MODEL_MISSING),
        ([], ErrorCode.MODEL_MISSING),
    ],
)
def test_repositories_without_safetensors_are_refused(choose, paths, code):
    with pytest.raises(ScumbleError) as caught:
        choose(*paths)
    assert caught.value.code is code


@pytest.mark.parametrize("wanted", ["../x.safetensors", "model.ckpt", "run.py", "/etc/passwd", "a\\b.safetensors"])
def test_a_named_file_may_not_lead_out_or_run(choose, wanted):
    with pytest.raises(ScumbleError) as caught:
        choose("a.safetensors", wanted, wanted=(wanted,))
    assert caught.value.code in (ErrorCode.INVALID_FIELD, ErrorCode.MODEL_INVALID)


@pytest.mark.parametrize("evil", ["unet/../evil.safetensors", "..", "model_index.json/../../x.safetensors"])
def test_a_hub_cannot_place_files_elsewhere(server, network, watch, library, get, evil, weights):
    server.put_repository("owner/evil", COMMIT, {"model_index.json": b"{}", evil: weights(), "ok/config.json": b"{}"})
    error = refused(lambda: get(plan_repository("owner/evil", network, watch)))
    assert error.code in (ErrorCode.INVALID_FIELD, ErrorCode.MODEL_INVALID)
    assert not library.folder.exists() or files_of(library) == []


# --- fetching ---------------------------------------------------------------------------------------


def test_a_repository_arrives_as_a_folder_with_a_record(library, network, watch, net, get):
    plan = plan_repository("owner/net", network, watch)
    assert plan.size == len(net["config.json"]) + len(net["diffusion_pytorch_model.fp16.safetensors"])
    record = get(plan)
    assert files_of(library) == ["net/config.json", "net/diffusion_pytorch_model.safetensors"]
    assert parts_of(library) == []
    assert (record.kind, record.licence, record.source, record.revision) == (
        "controlnet",
        "openrail",
        "owner/net",
        COMMIT,
    )
    assert library.verify("net") == ()
    assert watch.steps[-1] == (plan.size, plan.size)
    index = scan((library.folder,), builtin=False)
    assert [entry.id for entry in (*index.controlnets, *index.unusable)] == ["net"]


def test_nothing_is_fetched_by_planning(server, library, network, watch, net):
    plan_repository("owner/net", network, watch)
    assert [seen.path.split("/")[1] for seen in server.seen] == ["api"]
    assert not library.folder.exists()


def test_what_is_there_is_not_fetched_again(server, network, watch, net, get):
    plan = plan_repository("owner/net", network, watch)
    get(plan)
    before = len(server.seen)
    get(plan)
    assert len(server.seen) == before


def test_a_damaged_model_is_fetched_again(library, network, watch, net, get):
    plan = plan_repository("owner/net", network, watch)
    record = get(plan)
    (library.location(record) / "config.json").unlink()
    get(plan)
    assert library.verify("net") == ()


def test_a_download_that_ended_goes_on_at_the_file_it_was_at(server, library, network, watch, net, get):
    path = f"/owner/net/resolve/{COMMIT}/diffusion_pytorch_model.fp16.safetensors"
    server.resources[path].faults += [drop(5000)]
    plan = plan_repository("owner/net", network, watch)
    assert refused(get, plan, replace(network, attempts=1)).info.retryable
    assert files_of(library) == []
    assert parts_of(library) == [
        "config.json",
        "diffusion_pytorch_model.safetensors.part",
        "diffusion_pytorch_model.safetensors.part.json",
    ]
    server.seen.clear()
    get(plan)
    assert [(seen.path, seen.headers["Range"]) for seen in server.seen] == [(path, "bytes=5000-")]
    assert library.verify("net") == ()


def test_cancelling_leaves_no_model_and_keeps_the_part(library, network, net, watch, watch_until, get):
    plan = plan_repository("owner/net", network, watch)
    with pytest.raises(watch_until.Stopped):
        get(plan, network, watch_until(stop_at=500))
    assert files_of(library) == []
    assert library.records() == ()
    get(plan)
    assert library.verify("net") == ()


def test_a_disk_too_small_for_all_files_is_told_before_the_first(server, network, watch, net, get, monkeypatch):
    plan = plan_repository("owner/net", network, watch)
    server.seen.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, plan.size - 1))
    assert refused(get, plan).code is ErrorCode.DISK_FULL
    assert server.seen == []


def test_a_file_changed_on_the_way_is_not_taken(server, library, network, watch, net, get, weights):
    plan = plan_repository("owner/net", network, watch)
    server.put(f"/owner/net/resolve/{COMMIT}/diffusion_pytorch_model.fp16.safetensors", weights(*CONTROLNET, seed=9))
    error = refused(get, plan)
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "sha256")
    assert files_of(library) == []
    assert parts_of(library) == ["config.json"]


def test_a_gated_repository_says_so(server, network, watch, net):
    server.resources["/api/models/owner/net/revision/main"].faults += [status(401, X_Error_Code="GatedRepo")]
    error = refused(plan_repository, "owner/net", network, watch)
    assert (error.code, error.info.field) == (ErrorCode.UNAUTHORIZED, "url")


def test_a_model_in_use_is_not_replaced(server, library, network, watch, net, get):
    get(plan_repository("owner/net", network, watch))
    server.put_repository("owner/net", LATER, net)
    plan = plan_repository("owner/net", network, watch)
    with library.using("net"):
        assert refused(get, plan).code is ErrorCode.IN_USE
    assert get(plan).revision == LATER


def test_files_of_an_abandoned_version_do_not_mix_in(server, library, network, watch, net, get):
    """The first version is broken off; the next has no settings file any more but another."""
    server.resources[f"/owner/net/resolve/{COMMIT}/diffusion_pytorch_model.fp16.safetensors"].faults += [drop(100)]
    refused(get, plan_repository("owner/net", network, watch), replace(network, attempts=1))
    changed = {path: body for path, body in net.items() if path != "diffusion_pytorch_model.fp16.safetensors"}
    changed["config.json"] = b'{"_class_name": "ControlNetModel"}'
    server.put_repository("owner/net", LATER, changed)
    record = get(plan_repository("owner/net", network, watch))
    assert files_of(library) == ["net/config.json", "net/diffusion_pytorch_model.safetensors"]
    assert (library.location(record) / "config.json").read_bytes() == changed["config.json"]
    assert library.verify("net") == ()


# --- addresses --------------------------------------------------------------------------------------


def test_a_file_by_its_address(server, library, get, weights):
    body = weights()
    record = get(plan_url(server.put("/files/My%20Model.v2.safetensors", body), model_id="mine"))
    assert files_of(library) == ["mine.safetensors"]
    assert record.files[0].sha256 == hashlib.sha256(body).hexdigest()
    assert (record.kind, record.single, record.licence) == ("other", True, "")


def test_an_address_names_the_model(server):
    assert plan_url(f"{server.url}/x/Dream_8.safetensors?token=secret").id == "dream-8"
    assert "secret" not in plan_url(f"{server.url}/x/Dream_8.safetensors?token=secret").origin


def test_a_publishers_checksum_is_held_to(server, library, get, weights):
    url = server.put("/m.safetensors", weights())
    assert refused(get, plan_url(url, sha256="0" * 64)).code is ErrorCode.MODEL_INVALID
    get(plan_url(url, sha256=hashlib.sha256(weights()).hexdigest().upper()))
    assert files_of(library) == ["m.safetensors"]


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "model.zip", "evil.py", "page.html"])
def test_addresses_of_other_files_are_refused_without_a_request(server, name):
    assert refused(plan_url, f"{server.url}/{name}").code is ErrorCode.MODEL_INVALID
    assert refused(plan_url, f"{server.url}/{name}", model_id="mine").code is ErrorCode.MODEL_INVALID
    assert server.seen == []


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"", b"\x80\x04pickle"])
def test_a_page_that_is_no_model_is_not_kept(server, library, get, body):
    error = refused(get, plan_url(server.put("/m.safetensors", body)))
    assert error.code is ErrorCode.MODEL_INVALID
    assert files_of(library) == parts_of(library) == []


def test_a_truncated_model_of_unknown_size_is_not_kept(server, library, get, weights):
    error = refused(get, plan_url(server.put("/m.safetensors", weights()[:-9])))
    assert "cut off" in str(error)
    assert files_of(library) == parts_of(library) == []


# --- catalogue entries ------------------------------------------------------------------------------


def test_a_pinned_entry_comes_from_its_commit(server, library, network, watch, net, get):
    server.put_repository("owner/net", LATER, net | {"config.json": b"{}"})
    server.put_repository("owner/net", COMMIT, net)
    record = get(plan_entry(ENTRY, library, network, watch))
    assert (record.id, record.name, record.kind, record.family, record.licence, record.revision) == (
        "net",
        "A net",
        "controlnet",
        "sd15",
        "OpenRAIL",
        COMMIT,
    )


def test_an_entry_without_a_pin_is_pinned_by_its_first_download(server, library, network, watch, net, get):
    entry = replace(ENTRY, revision="")
    assert get(plan_entry(entry, library, network, watch)).revision == COMMIT
    server.put_repository("owner/net", LATER, net | {"config.json": b"{}"})
    assert plan_entry(entry, library, network, watch).revision == COMMIT
    assert plan_entry(entry, library, network, watch, newest=True).revision == LATER


def test_an_entry_with_a_checksum_notices_another_file_before_it_is_fetched(server, library, network, watch, weights):
    server.put_repository("owner/lora", COMMIT, {"lora.safetensors": weights(seed=1)})
    expected = hashlib.sha256(weights(seed=2)).hexdigest()
    entry = replace(ENTRY, repo="owner/lora", files=("lora.safetensors",), sha256=expected)
    error = refused(plan_entry, entry, library, network, watch)
    assert (error.code, error.info.field) == (ErrorCode.MODEL_INVALID, "sha256")


def test_offline_nothing_is_planned(library, network, watch, net):
    error = refused(plan_entry, ENTRY, library, replace(network, offline=True), watch)
    assert error.code is ErrorCode.OFFLINE
