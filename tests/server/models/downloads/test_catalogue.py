"""The catalogue's promises hold for each of its entries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scumble_server.models.catalogue import CATALOGUE, SETS, entry_of, set_of
from scumble_server.models.download_hub import is_commit
from scumble_server.models.library_names import check_file, check_id
from scumble_shared.detectors import SUGGESTED_DETECTORS
from scumble_shared.errors import ErrorCode, ScumbleError

DOCS = Path(__file__).parents[4] / "docs" / "downloads.md"


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_an_entry_is_complete(entry):
    assert check_id(entry.id) == entry.id
    assert entry.name
    assert entry.licence
    assert entry.about
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repo)
    assert entry.kind in ("checkpoint", "controlnet", "lora", "vae", "adapter", "encoder", "detector")
    assert entry.family in (("",) if entry.kind in ("encoder", "detector") else ("sd15", "sdxl"))
    assert 0 < entry.gigabytes < 50
    assert [str(check_file(path)) for path in entry.files] == list(entry.files)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_a_pin_is_a_commit_and_a_checksum_is_of_one_file(entry):
    assert entry.revision == "" or is_commit(entry.revision)
    assert entry.sha256 == "" or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert not entry.sha256 or len(entry.files) == 1


def test_what_a_missing_detector_is_told_to_get_is_in_it():
    repos = {entry.repo for entry in CATALOGUE if entry.kind == "detector"}
    assert repos == set(SUGGESTED_DETECTORS.values())


def test_ids_are_unique_over_models_and_sets():
    ids = [item.id for item in (*CATALOGUE, *SETS)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("item", SETS, ids=lambda item: item.id)
def test_a_set_goes_together_and_fits(item):
    entries = set_of(item.id)
    assert [entry.id for entry in entries] == list(item.entries)
    assert len({entry.family for entry in entries}) == 1
    assert [entry.kind for entry in entries].count("checkpoint") == 1
    assert any(entry.kind == "controlnet" for entry in entries)
    largest_together = sum(entry.gigabytes for entry in entries if entry.kind in ("checkpoint", "controlnet"))
    assert largest_together <= item.vram


def test_sets_grow_with_the_memory():
    assert [item.vram for item in SETS] == sorted(item.vram for item in SETS)


def test_the_table_in_the_docs_is_that_of_the_catalogue():
    text = DOCS.read_text(encoding="utf-8").split("<!-- catalogue begins -->")[1].split("<!-- catalogue ends -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    told = {row[0].strip("`"): row[1:] for row in rows}
    assert list(told) == [item.id for item in (*CATALOGUE, *SETS)]
    for entry in CATALOGUE:
        link = f"[{entry.name}](https://huggingface.co/{entry.repo})"
        pin = entry.revision[:12] or "not pinned"
        assert told[entry.id] == [link, entry.kind, entry.family, entry.licence, str(entry.gigabytes), pin]
    for item in SETS:
        assert told[item.id] == [f"{item.vram} GB", ", ".join(f"`{entry}`" for entry in item.entries)]


@pytest.mark.parametrize("call", [entry_of, set_of])
def test_an_unknown_name_is_told(call):
    with pytest.raises(ScumbleError) as caught:
        call("nonsense")
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert "catalogue" in caught.value.info.remedy.label
