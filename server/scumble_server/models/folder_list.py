"""Folders that a library reads in place: a list in the library, so that every scan of it looks there, too.

FOLDER/.scumble/folders.json      {"folders": ["/home/me/ComfyUI", ...]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .transfer import storage_error

__all__ = ["add_folder", "read_folders", "remove_folder", "with_added"]

FOLDERS = 64


def read_folders(library: Path) -> tuple[Path, ...]:
    """The list of the library in ``library``, in the order they were added; () if there is none or it is damaged."""
    try:
        content = json.loads(_path(library).read_text(encoding="utf-8"))
        found = content["folders"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(Path(text) for text in found if isinstance(text, str)) if isinstance(found, list) else ()


def with_added(folders: Iterable[Path]) -> tuple[Path, ...]:
    """``folders`` and what their lists name, each once, in that order."""
    given = [folder.expanduser() for folder in folders]
    everything = [*given, *(added for folder in given for added in read_folders(folder))]
    unique = {os.path.realpath(folder): folder for folder in reversed(everything)}
    return tuple(folder for folder in everything if unique.get(os.path.realpath(folder)) is folder)


def add_folder(library: Path, folder: Path) -> None:
    """Raises ScumbleError INVALID_FIELD for what isn't a folder on this machine, or lies in the library, or has it."""
    folder = folder.expanduser()
    if not folder.is_absolute() or not folder.is_dir():
        message = f"there is no folder {folder} on the server's machine"
        remedy = Remedy("Choose a folder, with its whole path")
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="target", remedy=remedy)
    inner, outer = Path(os.path.realpath(folder)), Path(os.path.realpath(library))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        message = f"{folder} and the library {library} lie in each other"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="target", remedy=Remedy("Choose another folder"))
    known = read_folders(library)
    if any(os.path.realpath(other) == str(inner) for other in known):
        return
    if len(known) >= FOLDERS:
        raise ScumbleError(ErrorCode.TOO_LARGE, f"at most {FOLDERS} folders can be added", field="target")
    _write(library, (*known, folder))


def remove_folder(library: Path, folder: Path) -> None:
    """Don't read it any longer; nothing in it is touched. Raises ScumbleError MODEL_MISSING if it isn't listed."""
    known = read_folders(library)
    wanted = os.path.realpath(folder.expanduser())
    left = tuple(other for other in known if os.path.realpath(other) != wanted)
    if len(left) == len(known):
        message = f"{folder} isn't among the folders that were added"
        remedy = Remedy("Folders that the server was started with go with its --models or SCUMBLE_MODELS")
        raise ScumbleError(ErrorCode.MODEL_MISSING, message, field="target", remedy=remedy)
    _write(library, left)


def _write(library: Path, folders: Iterable[Path]) -> None:
    path = _path(library)
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"folders": [str(folder) for folder in folders]}, indent=1), encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        raise storage_error(error, path) from error


def _path(library: Path) -> Path:
    return library.expanduser() / ".scumble" / "folders.json"
