"""Names are words, never paths; and files that could run code don't get in under any name."""

from __future__ import annotations

import string
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.models.library_names import check_file, check_id, id_from
from scumble_shared.errors import ErrorCode, ScumbleError

EVIL = [
    "",
    ".",
    "..",
    "...",
    "../evil",
    "..\\evil",
    "a/../b",
    "/etc/passwd",
    "\\\\server\\share",
    "//server/share",
    "C:",
    "C:evil",
    "C:\\evil",
    "a:stream",
    "a\0b",
    "a\nb",
    "a b",
    " a",
    "a ",
    "a.",
    "-a",
    ".hidden",
    "~",
    "~root",
    "$HOME",
    "%APPDATA%",
    "a*",
    "a?",
    'a"',
    "a|b",
    "con",
    "CON",
    "nul",
    "aux",
    "prn",
    "com1",
    "lpt9",
    "naïve",
    "а",  # Cyrillic
    "x" * 300,
]


def refused(call, *arguments) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("name", [*EVIL, "starter", "Upper", "a--b", "a-", "a_b", "a.b", "x" * 61])
def test_what_is_no_id_is_refused(name):
    error = refused(check_id, name)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "id")


@pytest.mark.parametrize("name", ["sd15", "sd15-depth", "a", "4x", "x" * 60, "console", "com10"])
def test_ids_are_plain_words(name):
    assert check_id(name) == name


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("pattern", ["{}", "{}.safetensors", "unet/{}", "{}/config.json"])
def test_file_names_lead_nowhere_else(name, pattern):
    assert refused(check_file, pattern.format(name)).code in (ErrorCode.INVALID_FIELD, ErrorCode.MODEL_INVALID)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.ckpt", "pickle"),
        ("model.pt", "pickle"),
        ("model.pth", "pickle"),
        ("unet/diffusion_pytorch_model.bin", "pickle"),
        ("pipeline.py", "program"),
        ("unet/modeling.py", "program"),
        ("model.SAFETENSORS", "no kind of file"),
        ("setup.exe", "no kind of file"),
        ("other.json", "no kind of file"),
        ("notes.txt", "no kind of file"),
        ("model", "no kind of file"),
    ],
)
def test_files_that_are_not_needed_are_refused_with_the_reason(name, words):
    error = refused(check_file, name)
    assert error.code is ErrorCode.MODEL_INVALID
    assert words in str(error)
    assert "safetensors" in error.info.remedy.label


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "model_index.json",
        "tokenizer/merges.txt",
    ],
)
def test_the_files_of_a_model_are_taken(name):
    assert check_file(name).as_posix() == name


def test_folders_in_folders_end_somewhere():
    assert refused(check_file, "a/b/c/d/model.safetensors").code is ErrorCode.INVALID_FIELD


NASTY = st.text(st.sampled_from(string.ascii_letters + string.digits + "./\\:-_ ~\0\n*ü"), max_size=40)


@given(NASTY)
def test_whatever_passes_stays_in_its_folder_on_every_system(name):
    for check in (check_id, check_file):
        try:
            check(name)
        except ScumbleError:
            continue
        home = Path("/library")
        assert (home / name).resolve().is_relative_to(home)
        assert (home / name).resolve() != home
        windows = PureWindowsPath(name)
        assert not windows.drive
        assert not windows.root
        assert not windows.is_reserved()
        assert ".." not in windows.parts


@given(NASTY)
def test_an_id_made_from_a_name_is_an_id_or_an_error(name):
    try:
        assert check_id(id_from(name)) == id_from(name)
    except ScumbleError as error:
        assert error.code is ErrorCode.INVALID_FIELD  # noqa: PT017 - both are right


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("DreamShaper_8 (pruned).safetensors", "dreamshaper-8-pruned"),
        ("lllyasviel/control_v11f1p_sd15_depth", "control-v11f1p-sd15-depth"),
        ("C:\\models\\Some.Model.v2.safetensors", "some-model-v2"),
        ("folder/", "folder"),
    ],
)
def test_ids_are_made_from_the_last_part_of_a_name(name, made):
    assert id_from(name) == made
