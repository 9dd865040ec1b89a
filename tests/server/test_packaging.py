"""The extension's zip: the same bytes for the same sources, pure Python, and a manifest nobody refuses."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from scumble_server.packaging.extension import build_extension
from scumble_server.packaging.manifest import problems_of
from scumble_server.packaging.wheels import shared_wheel, websockets_wheel
from scumble_shared.errors import ScumbleError

SOURCE = Path(__file__).parents[2] / "blender_addon"
GOOD = {
    "schema_version": "1.0.0",
    "id": "scumble",
    "version": "0.1.0",
    "name": "Scumble",
    "tagline": "Diffusion over real geometry",
    "maintainer": "Someone <some@one.org>",
    "type": "add-on",
    "license": ["SPDX:GPL-3.0-or-later"],
    "blender_version_min": "4.2.0",
    "wheels": ["./wheels/a-1-py3-none-any.whl"],
    "permissions": {"network": "Talk to the server"},
}
FILES = {"__init__.py": b"", "wheels/a-1-py3-none-any.whl": b""}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build_extension(SOURCE, tmp_path_factory.mktemp("dist"))


def test_the_same_sources_give_the_same_bytes_wherever_they_lie(archive, tmp_path):
    copy = tmp_path / "elsewhere" / "blender_addon"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE.parent / "LICENSE", copy.parent)
    assert build_extension(copy, tmp_path / "dist").read_bytes() == archive.read_bytes()


def test_the_zip_has_what_the_manifest_names_and_no_compiled_code(archive):
    with zipfile.ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    manifest = tomllib.loads(files["blender_manifest.toml"].decode())
    assert problems_of(manifest, files) == []
    assert len(manifest["wheels"]) == 2
    assert "LICENSE" in files
    assert not [name for name in files if "__pycache__" in name or name == "demo.py"]


@pytest.mark.parametrize("make", [shared_wheel, websockets_wheel])
def test_a_wheel_records_every_file_with_its_hash(make):
    with zipfile.ZipFile(io.BytesIO(make().data)) as wheel:
        record = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {path: (digest, size) for path, digest, size in csv.reader(wheel.read(record).decode().splitlines())}
        assert set(rows) == set(wheel.namelist())
        for path, (digest, size) in rows.items():
            if path != record:
                data = wheel.read(path)
                expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={expected}", str(len(data)))


def test_the_websockets_wheel_is_pure_python_and_keeps_its_licence():
    with zipfile.ZipFile(io.BytesIO(websockets_wheel().data)) as wheel:
        names = wheel.namelist()
    assert not [name for name in names if name.endswith((".so", ".pyd", ".c", ".pyc"))]
    assert any("LICENSE" in name for name in names)
    assert "websockets/sync/client.py" in names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tagline": "Ends in a stop."}, "punctuation"),
        ({"tagline": "x" * 65}, "longer"),
        ({"tagline": "x" * 64}, None),
        ({"name": "Scumble for Blender"}, "host's name"),
        ({"license": ["GPL-3.0"]}, "SPDX"),
        ({"blender_version_min": "4.1.0"}, "older"),
        ({"blender_version_min": "4.2"}, "three numbers"),
        ({"permissions": {"world": "Rule it"}}, "isn't known"),
        ({"tags": ["Nonsense"]}, "platform's"),
        ({"wheels": ["./wheels/b-1-py3-none-any.whl"]}, "isn't in the zip"),
        ({"wheels": []}, "empty"),
        ({"version": "1"}, "semantic"),
        ({"maintainer": "Someone"}, "maintainer"),
        ({"id": "not-good"}, "identifier"),
        ({"copyright": ["Someone"]}, "year"),
        ({"schema_version": ""}, "missing"),
    ],
)
def test_what_the_platform_refuses_is_found_before(change, problem):
    found = problems_of({**GOOD, **change}, FILES)
    assert found == [] if problem is None else any(problem in sentence for sentence in found)


def test_a_good_manifest_has_no_problems():
    assert problems_of(GOOD, FILES) == []


def test_without_sources_it_says_what_to_do(tmp_path):
    with pytest.raises(ScumbleError) as caught:
        build_extension(tmp_path, tmp_path)
    assert caught.value.info.remedy is not None
