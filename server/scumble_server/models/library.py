"""The library: the folder of models that Scumble fetched or imported, with a record of each.

    FOLDER/ID.safetensors or FOLDER/ID/...       the models, where the index finds them
    FOLDER/.scumble/records/ID.json              licence, source, commit, and size and SHA-256 of every file
    FOLDER/.scumble/incoming/ID/...              downloads on their way; moved into place whole
    FOLDER/.scumble/locks/                       who uses what

Models that somebody put there by hand have no record; they are used like any other and never deleted from here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .library_lock import changing, using
from .library_names import check_file, check_id
from .scan import default_model_dirs

__all__ = ["Library", "LibraryFile", "LibraryRecord", "lease", "sha256_of"]

CHUNK = 4 * 1024 * 1024
TEXTS = ("id", "name", "kind", "family", "licence", "source", "revision", "added")


@dataclass(frozen=True, slots=True)
class LibraryFile:
    """path: in the model's folder, ``/`` between its parts; for a single-file model its one file."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LibraryRecord:
    """What is known of a model in the library.

    kind: "checkpoint", "controlnet", "lora", "vae", "adapter", "encoder" or "other". family: "sd15", "sdxl", ..., ""
    if not known.
    licence: as its source names it, "" if it doesn't. source: repository, address or path it came from.
    revision: the commit, from now on the one it is pinned to; "" if it has none. single: one file, no folder.
    linked: a link to files elsewhere. added: ISO 8601 date and time, UTC.
    """

    id: str
    name: str
    kind: str
    family: str
    licence: str
    source: str
    revision: str
    single: bool
    linked: bool
    added: str
    files: tuple[LibraryFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def sha256_of(path: Path, counted: Callable[[int], None] = lambda _size: None) -> str:
    """SHA-256 of a file, hex. counted: called with the size of every piece read, bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            counted(len(block))
    return digest.hexdigest()


class Library:
    """One library folder; created when something is first put there."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder if folder is not None else default_model_dirs()[0]).expanduser()
        self._own = self.folder / ".scumble"

    def records(self) -> tuple[LibraryRecord, ...]:
        """All records, by id; damaged ones are left out."""
        found = (self._read(path) for path in sorted((self._own / "records").glob("*.json")))
        return tuple(record for record in found if record is not None)

    def record(self, model_id: str) -> LibraryRecord:
        """Raises ScumbleError INVALID_FIELD for what can't be an id, MODEL_MISSING if there is no such record."""
        path = self._record_path(check_id(model_id))
        record = self._read(path) if path.is_file() else None
        if record is None:
            message = f"the library in {self.folder} has no model {model_id!r} that Scumble put there"
            remedy = Remedy("See what there is with: scumble download installed")
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field="id", remedy=remedy)
        return record

    def has(self, model_id: str) -> bool:
        return self._record_path(check_id(model_id)).is_file() and self.location(self.record(model_id)).exists()

    def location(self, record: LibraryRecord) -> Path:
        """The model's file or folder."""
        return self.folder / (f"{record.id}.safetensors" if record.single else record.id)

    def path_of(self, record: LibraryRecord, file: LibraryFile) -> Path:
        return self.location(record) if record.single else self.location(record) / file.path

    def incoming(self, model_id: str) -> Path:
        """Where the files of a model that isn't complete yet lie; it survives restarts."""
        return self._own / "incoming" / check_id(model_id)

    def unfinished(self) -> dict[str, int]:
        """Ids of downloads that were broken off -> bytes that have arrived."""
        sizes = {folder.name: _size(folder) for folder in sorted((self._own / "incoming").glob("*"))}
        return {model_id: size for model_id, size in sizes.items() if size}

    def drop_unfinished(self, model_id: str) -> int:
        """Delete what has arrived of a download that was broken off; returns the bytes freed.

        Raises ScumbleError IN_USE while it goes on.
        """
        incoming = self.incoming(model_id)
        with self.changing(model_id):
            size = self.unfinished().get(model_id, 0)
            if os.path.lexists(incoming):
                _remove(incoming)
        return size

    def using(self, model_id: str) -> AbstractContextManager[None]:
        """Keeps ``model_id`` from being deleted or replaced; for whoever has it loaded. See :func:`using`."""
        return using(self._own / "locks", check_id(model_id))

    def changing(self, model_id: str) -> AbstractContextManager[None]:
        """Needed around :meth:`install`. See :func:`changing`."""
        return changing(self._own / "locks", check_id(model_id))

    def check_free(self, model_id: str) -> None:
        """Raises ScumbleError IN_USE if files that have no record are in the way; ids differ in more than case."""
        known = {record.id.casefold() for record in self.records()}
        wanted = check_id(model_id).casefold()
        taken = {path.name.casefold().removesuffix(".safetensors") for path in self._entries()}
        if wanted in taken and wanted not in known:
            message = f"there is already something called {model_id} in {self.folder} that Scumble didn't put there"
            raise ScumbleError(ErrorCode.IN_USE, message, field="id", remedy=Remedy("Choose another id with --id"))

    def install(self, record: LibraryRecord, incoming: Path) -> None:
        """Move the complete file or folder ``incoming`` (on the library's disk) into place and write its record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.location(record)
        old = self._aside(record.id) if os.path.lexists(place) else None
        if old is not None:
            _move(place, old)
        _move(incoming, place)
        self._write(record)
        if old is not None:
            _remove(old)

    def verify(self, model_id: str, counted: Callable[[int], None] = lambda _size: None) -> tuple[str, ...]:
        """Read every file again and compare: a sentence for each that is missing or differs, none if all is well.

        Raises ScumbleError as :meth:`record` does.
        """
        record = self.record(model_id)
        with self.using(model_id):
            problems = (self._compare(record, file, counted) for file in record.files)
            return tuple(problem for problem in problems if problem)

    def delete(self, model_id: str, *, confirmed: bool) -> int:
        """Delete a model and its record; returns the bytes freed. Of a linked model only the link goes.

        Raises ScumbleError: MODEL_MISSING; IN_USE while somebody uses it; INVALID_FIELD if not ``confirmed``, or if
        its place leads out of the library.
        """
        record = self.record(model_id)
        if not confirmed:
            message = f"deleting {record.id} removes {record.size / 1e9:.2f} GB for good"
            remedy = Remedy("Say --yes if you mean it")
            raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="confirmed", remedy=remedy)
        with self.changing(model_id):
            place = self.location(record)
            if os.path.lexists(place):
                self._check_inside(place)
                aside = self._aside(record.id)
                _move(place, aside)
                _remove(aside)
            self._record_path(record.id).unlink(missing_ok=True)
        return 0 if record.linked else record.size

    def _entries(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path != self._own] if self.folder.is_dir() else []

    def _compare(self, record: LibraryRecord, file: LibraryFile, counted: Callable[[int], None]) -> str:
        path = self.path_of(record, file)
        try:
            size = path.stat().st_size
            if size != file.size:
                return f"{file.path} has {size} bytes instead of {file.size}"
            return "" if sha256_of(path, counted) == file.sha256 else f"{file.path} was changed: its checksum differs"
        except FileNotFoundError:
            return f"{file.path} is missing"
        except OSError as error:
            return f"{file.path} can't be read: {error.strerror}"

    def _check_inside(self, place: Path) -> None:
        """A folder on the way could be a link; what is deleted must lie in the library itself."""
        home = self.folder.resolve()
        if place.parent.resolve() != home or (not place.is_symlink() and not place.resolve().is_relative_to(home)):
            message = f"{place} leads out of the library and is left alone"
            raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="id")

    def _aside(self, model_id: str) -> Path:
        """A place out of the index's sight, so that nobody meets half a model."""
        folder = self._own / "trash"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{model_id}-{uuid.uuid4().hex}"

    def _record_path(self, model_id: str) -> Path:
        return self._own / "records" / f"{model_id}.json"

    def _write(self, record: LibraryRecord) -> None:
        path = self._record_path(record.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        os.replace(new, path)

    def _read(self, path: Path) -> LibraryRecord | None:
        """None for a record that is damaged, or names files elsewhere."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = _record(content)
            check_id(record.id)
            for file in record.files:
                check_file(file.path)
        except (OSError, ValueError, KeyError, TypeError, ScumbleError):
            return None
        return record if record.id == path.stem else None


def lease(path: Path) -> AbstractContextManager[None]:
    """Keeps the model at ``path``, as the index names it, from being deleted or replaced while it is loaded.

    Does nothing for models that no library has a record of: Scumble doesn't delete those.
    Raises ScumbleError IN_USE while it is being deleted or replaced.
    """
    library = Library(path.parent)
    model_id = path.name.removesuffix(".safetensors")
    if model_id not in [record.id for record in library.records()]:
        return nullcontext()
    return library.using(model_id)


def _record(content: Any) -> LibraryRecord:
    """Raises KeyError, TypeError or ValueError for a record of another shape."""
    texts = {name: content[name] for name in TEXTS}
    flags = {name: content[name] for name in ("single", "linked")}
    if not all(isinstance(text, str) for text in texts.values()) or not all(type(f) is bool for f in flags.values()):
        raise ValueError("not a record")
    files = tuple(LibraryFile(item["path"], item["size"], item["sha256"]) for item in content["files"])
    for file in files:
        if type(file.size) is not int or not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise ValueError("not a record")
    return LibraryRecord(**texts, **flags, files=files)


def _move(path: Path, place: Path) -> None:
    """In one step. Windows moves nothing that a program has open, whether it asked the library or not."""
    try:
        os.replace(path, place)
    except OSError as error:
        message = f"{path} can't be moved: {error.strerror}"
        remedy = Remedy("Close the programs that read it, and check who may write there")
        raise ScumbleError(ErrorCode.IN_USE, message, field="id", retryable=True, remedy=remedy) from error


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError):  # a download that ends meanwhile takes its folder along
        for path in folder.rglob("*"):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _remove(path: Path) -> None:
    """A link goes, what it points to stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)
