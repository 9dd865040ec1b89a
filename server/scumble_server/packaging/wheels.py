"""The wheels the extension carries: our shared package, and websockets without its compiled part.

Both are made from what is installed, so that nothing is downloaded. Blender tells wheels apart by name and version
alone; the shared package's version therefore names its content, or an update during development would be ignored.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import scumble_shared

from .archive import zip_bytes

__all__ = ["Wheel", "shared_wheel", "websockets_wheel"]

LEFT_OUT_SUFFIXES = (".pyc", ".pyi", ".c", ".so", ".pyd")
LEFT_OUT_FOLDERS = ("__pycache__", "legacy", "trio")
"""Of websockets: old interfaces that nothing here uses."""


@dataclass(frozen=True, slots=True)
class Wheel:
    file_name: str
    data: bytes


def shared_wheel() -> Wheel:
    folder = Path(scumble_shared.__file__).parent
    files = _package(folder, "scumble_shared", ())
    content = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()
    version = f"{scumble_shared.__version__}+{content[:12]}"
    metadata = (
        f"Metadata-Version: 2.4\nName: scumble_shared\nVersion: {version}\nLicense-Expression: GPL-3.0-or-later\n"
    )
    return _wheel("scumble_shared", version, files, {"METADATA": metadata.encode()})


def websockets_wheel() -> Wheel:
    distribution = importlib.metadata.distribution("websockets")
    folder = Path(str(distribution.locate_file("websockets")))
    metadata = (distribution.read_text("METADATA") or "").encode()
    information = {"METADATA": metadata}
    for file in distribution.files or ():
        if "licenses" in file.parts:
            information[f"licenses/{file.name}"] = Path(str(file.locate())).read_bytes()
    return _wheel("websockets", distribution.version, _package(folder, "websockets", LEFT_OUT_FOLDERS), information)


def _package(folder: Path, name: str, without: tuple[str, ...]) -> dict[str, bytes]:
    files = {}
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if (
            path.is_file()
            and not path.name.endswith(LEFT_OUT_SUFFIXES)
            and not {"__pycache__", *without} & {*inside.parts}
        ):
            files[f"{name}/{inside}"] = path.read_bytes()
    return files


def _wheel(name: str, version: str, files: Mapping[str, bytes], information: Mapping[str, bytes]) -> Wheel:
    """A pure-Python wheel as PEP 427 has it."""
    folder = f"{name}-{version}.dist-info"
    content = dict(files)
    content.update({f"{folder}/{key}": data for key, data in information.items()})
    content[f"{folder}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: scumble\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in sorted(content.items())]
    content[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,", ""]).encode()
    return Wheel(f"{name}-{version}-py3-none-any.whl", zip_bytes(content))


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
