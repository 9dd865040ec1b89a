"""The stand-in for the starter model: the same everywhere, written whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from scumble_server.models.builtin import SEEDED_MANIFEST
from scumble_server.models.manifest import parse_manifest
from scumble_server.models.seeded import install_seeded_model, write_seeded_model


def fingerprints(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_files(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_seeded_model(tmp_path / name, seed)
    first, second, other = (fingerprints(tmp_path / name) for name in "abc")
    assert first == second
    assert first["unet/diffusion_pytorch_model.safetensors"] != other["unet/diffusion_pytorch_model.safetensors"]


def test_whoever_comes_second_finds_it_done(tmp_path):
    target = tmp_path / "model"
    install_seeded_model(target)
    before = fingerprints(target)
    install_seeded_model(target)
    assert fingerprints(target) == before
    assert list(tmp_path.iterdir()) == [target]


def test_its_manifest_is_valid():
    assert parse_manifest(SEEDED_MANIFEST).control_kinds == ("depth", "normal")
