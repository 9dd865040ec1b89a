"""Models that are already on this computer, taken into the library: copied, or read where they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .adapters import is_encoder_folder
from .detect import detect
from .detectors import is_detector_folder, read_detector_folder
from .folders import is_controlnet_folder, is_model_folder, read_controlnet_folder, read_model_folder
from .library import Library, LibraryFile, LibraryRecord, sha256_of
from .library_names import check_file, check_id, id_from
from .lora import is_lora
from .safetensors_header import BadFileError, read_header, read_metadata
from .transfer import TransferHooks, check_disk, storage_error
from .transfer_http import Network

__all__ = ["check_weights", "describe", "import_model", "now"]

CHUNK = 4 * 1024 * 1024


def import_model(
    library: Library,
    source: Path,
    hooks: TransferHooks,
    network: Network,
    *,
    model_id: str = "",
    licence: str = "",
    link: bool = False,
) -> LibraryRecord:
    """Take the ``.safetensors`` file or diffusers folder ``source`` into the library.

    model_id: "" makes one of its name. link: don't copy, put a link; the files stay where they are. network: for the
    disk space to leave free.
    Raises ScumbleError: INVALID_FIELD (name, not there), MODEL_INVALID (not safetensors, damaged), IN_USE, DISK_FULL,
    UNSUPPORTED (a link that this system doesn't allow).
    """
    source = source.expanduser().absolute()
    model_id = check_id(model_id) if model_id else id_from(source.name)
    single, names = _survey(source)
    kind, family = describe(source)
    incoming = library.incoming(model_id)
    with library.changing(model_id):
        library.check_free(model_id)
        _clear(incoming)
        incoming.parent.mkdir(parents=True, exist_ok=True)
        if link:
            _link(source, incoming)
            files = tuple(_hashed(source, name, single, hooks) for name in names)
        else:
            check_disk(library.folder, sum(_at(source, name, single).stat().st_size for name in names), network)
            files = _copied_all(source, incoming, names, single, hooks)
        record = LibraryRecord(
            id=model_id,
            name=source.stem if single else source.name,
            kind=kind,
            family=family,
            licence=licence,
            source=str(source),
            revision="",
            single=single,
            linked=link,
            added=now(),
            files=files,
        )
        library.install(record, incoming)
    return record


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(path: Path) -> tuple[str, str]:
    """Kind and family of a file or folder on disk; ("other", "") for sound files that no family here knows.

    Raises ScumbleError MODEL_INVALID for damaged ones.
    """
    try:
        if path.is_dir():
            if is_encoder_folder(path):
                return "encoder", ""
            if is_detector_folder(path):
                read_detector_folder(path)
                return "detector", ""
            reads = ((is_model_folder, read_model_folder), (is_controlnet_folder, read_controlnet_folder))
            weights = next((read(path) for applies, read in reads if applies(path)), None)
            return (weights.role, weights.family) if weights else ("other", "")
        header, said = read_header(path), read_metadata(path)
    except BadFileError as error:
        raise _invalid(path, str(error)) from error
    try:
        found = detect(header, said)
    except BadFileError:
        return ("lora" if is_lora(header) else "other"), ""
    return found.role, found.family


def check_weights(path: Path) -> None:
    """Raises ScumbleError MODEL_INVALID if ``path`` isn't a whole .safetensors file; a login page saved as one, say."""
    try:
        read_header(path)
    except BadFileError as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, reason: str) -> ScumbleError:
    return ScumbleError(ErrorCode.MODEL_INVALID, f"{path.name}: {reason}", field="path")


def _survey(source: Path) -> tuple[bool, list[str]]:
    """Whether it is a single file, and the names of the files that make it up."""
    if source.is_dir():
        names = list(_usable(source))
        if not any(name.endswith(".safetensors") for name in names):
            message = f"{source.name} has no .safetensors weights; pickle files (.bin, .ckpt, .pt) aren't taken"
            remedy = Remedy("Import the .safetensors version of this model")
            raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="path", remedy=remedy)
        return False, names
    if not source.is_file():
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"there is nothing at {source}", field="path")
    if not source.name.endswith(".safetensors"):
        check_file(f"model{source.suffix}", field="path")
        raise _invalid(source, "only .safetensors files and diffusers folders are models")
    return True, [f"{id_from(source.name)}.safetensors"]


def _usable(folder: Path) -> Iterator[str]:
    """The files of a diffusers folder that may be taken, at most two folders deep; others stay behind."""
    for pattern in ("*", "*/*"):
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            try:
                check_file(name)
            except ScumbleError:
                continue
            if path.is_file():
                yield name


def _at(folder: Path, name: str, single: bool) -> Path:
    return folder if single else folder / name


def _hashed(source: Path, name: str, single: bool, hooks: TransferHooks) -> LibraryFile:
    path = _at(source, name, single)
    total, done = path.stat().st_size, 0

    def counted(size: int) -> None:
        nonlocal done
        done += size
        hooks.check_cancelled()
        hooks.progress(done, total)

    return LibraryFile(name, total, sha256_of(path, counted))


def _copied_all(
    source: Path, incoming: Path, names: list[str], single: bool, hooks: TransferHooks
) -> tuple[LibraryFile, ...]:
    """All or nothing: half a copy is of no use, since the whole is still there."""
    complete = False
    try:
        files = tuple(_copied(source, incoming, name, single, hooks) for name in names)
        complete = True
    except OSError as error:
        raise storage_error(error, incoming) from error
    finally:
        if not complete:
            _clear(incoming)
    return files


def _copied(source: Path, incoming: Path, name: str, single: bool, hooks: TransferHooks) -> LibraryFile:
    """Copied and hashed in one reading, so that what is recorded is what was written."""
    origin, target = _at(source, name, single), _at(incoming, name, single)
    target.parent.mkdir(parents=True, exist_ok=True)
    total, done, digest = origin.stat().st_size, 0, hashlib.sha256()
    with origin.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(CHUNK):
            hooks.check_cancelled()
            writing.write(block)
            digest.update(block)
            done += len(block)
            hooks.progress(done, total)
        writing.flush()
        os.fsync(writing.fileno())
    return LibraryFile(name, done, digest.hexdigest())


def _link(source: Path, place: Path) -> None:
    try:
        place.symlink_to(source, target_is_directory=source.is_dir())
    except OSError as error:
        message = f"this system doesn't allow a link to {source}: {error.strerror}"
        remedy = Remedy("Leave out --link to copy it, or add its folder to SCUMBLE_MODELS")
        raise ScumbleError(ErrorCode.UNSUPPORTED, message, field="path", remedy=remedy) from error


def _clear(incoming: Path) -> None:
    """Whatever an import that was interrupted left; a download that isn't finished begins anew after this."""
    if incoming.is_symlink() or incoming.is_file():
        incoming.unlink()
    elif incoming.exists():
        shutil.rmtree(incoming)
