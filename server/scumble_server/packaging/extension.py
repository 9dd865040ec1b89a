"""The extension's zip: our sources, the two wheels, and a manifest that names them."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .archive import zip_bytes
from .manifest import problems_of
from .wheels import Wheel, shared_wheel, websockets_wheel

__all__ = ["build_extension"]

MANIFEST = "blender_manifest.toml"


def build_extension(source: Path, output: Path) -> Path:
    """Writes ``scumble-VERSION.zip`` into ``output`` and returns its path.

    Raises ScumbleError UNSUPPORTED without the sources, INVALID_FIELD for a manifest Blender or its platform refuse.
    """
    manifest_path = source / MANIFEST
    if not manifest_path.is_file():
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{source} has no {MANIFEST}",
            field="--source",
            remedy=Remedy("Run it in a clone of the repository, or give --source"),
        )
    wheels = (shared_wheel(), websockets_wheel())
    text = _with_wheels(manifest_path.read_text(encoding="utf-8"), wheels)
    manifest = tomllib.loads(text)
    files = {f"wheels/{wheel.file_name}": wheel.data for wheel in wheels}
    files.update(_sources(source, manifest["build"]["paths_exclude_pattern"]))
    files[MANIFEST] = text.encode()
    license_file = source.parent / "LICENSE"
    if license_file.is_file():
        files["LICENSE"] = license_file.read_bytes()
    _check(manifest, files)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{manifest['id']}-{manifest['version']}.zip"
    path.write_bytes(zip_bytes(files))
    return path.resolve()


def _with_wheels(text: str, wheels: Sequence[Wheel]) -> str:
    names = ", ".join(f'"./wheels/{wheel.file_name}"' for wheel in wheels)
    return text.replace("wheels = []", f"wheels = [{names}]", 1)


def _sources(folder: Path, exclude: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if path.is_file() and not any(_excluded(inside, pattern) for pattern in exclude):
            yield inside, path.read_bytes().replace(b"\r\n", b"\n")


def _excluded(path: str, pattern: str) -> bool:
    """The part of gitignore's rules the manifest uses: "name/" is a folder anywhere, "/name" lies at the top."""
    if pattern.endswith("/"):
        return pattern.strip("/") in path.split("/")[:-1]
    return fnmatch.fnmatchcase(path.partition("/")[0] if "/" not in pattern[1:] else path, pattern.lstrip("/"))


def _check(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    problems = problems_of(manifest, files)
    if manifest.get("version") != __version__:
        problems.append(f"version is {manifest.get('version')}, the package's is {__version__}")
    if problems:
        raise ScumbleError(ErrorCode.INVALID_FIELD, "; ".join(problems), field=MANIFEST)
