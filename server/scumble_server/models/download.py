"""Models from elsewhere into the library, when somebody asks for them: planned, fetched, checked, moved into place."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .catalogue import CatalogueEntry
from .download_hub import RemoteFile, Repository, choose_files, list_repository
from .library import Library, LibraryFile, LibraryRecord
from .library_import import check_weights, describe, now
from .library_names import check_file, check_id, id_from
from .transfer import Source, TransferHooks, check_disk, fetch, part_bytes
from .transfer_http import Network, shown

__all__ = ["Plan", "PlannedFile", "download", "plan_entry", "plan_repository", "plan_url"]


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """local: path in the model's folder."""

    local: str
    source: Source


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be fetched for one model, told before anything is. kind, family: "" asks the files."""

    id: str
    name: str
    kind: str
    family: str
    licence: str
    origin: str
    revision: str
    single: bool
    files: tuple[PlannedFile, ...]

    @property
    def size(self) -> int:
        """Bytes, as far as they are known beforehand."""
        return sum(file.source.size or 0 for file in self.files)


def plan_entry(
    entry: CatalogueEntry, library: Library, network: Network, hooks: TransferHooks, *, newest: bool = False
) -> Plan:
    """A plan for a curated model, at its pinned commit.

    Where the catalogue has no pin, the first download resolves the main branch and its commit is the pin from then on,
    read from the library's record; newest: resolve it again.
    """
    revision = entry.revision
    if not revision and not newest and library.has(entry.id):
        revision = library.record(entry.id).revision
    repository = list_repository(entry.repo, revision or "main", network, hooks)
    plan = _plan(repository, entry.files, entry.id, network)
    if entry.sha256:
        plan = replace(plan, files=tuple(_pinned(file, entry.sha256) for file in plan.files))
    return replace(plan, name=entry.name, kind=entry.kind, family=entry.family, licence=entry.licence)


def _pinned(file: PlannedFile, sha256: str) -> PlannedFile:
    """The catalogue's checksum over the hub's: a repository that changed its file is noticed before the download."""
    if file.source.sha256 and file.source.sha256 != sha256:
        message = f"{shown(file.source.url)} isn't the file the catalogue means: its checksum differs"
        remedy = Remedy("Update Scumble; or fetch the repository by its own name if you trust the change")
        raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="sha256", remedy=remedy)
    return replace(file, source=replace(file.source, sha256=sha256))


def plan_repository(
    name: str,
    network: Network,
    hooks: TransferHooks,
    *,
    revision: str = "main",
    files: tuple[str, ...] = (),
    model_id: str = "",
) -> Plan:
    """A plan for any repository ``OWNER/NAME`` of the hub; see :func:`choose_files` for which files."""
    repository = list_repository(name, revision, network, hooks)
    stem = files[0] if len(files) == 1 and files[0].endswith(".safetensors") else name
    return _plan(repository, files, check_id(model_id) if model_id else id_from(stem), network)


def _plan(repository: Repository, wanted: tuple[str, ...], model_id: str, network: Network) -> Plan:
    chosen = choose_files(repository, wanted)
    for local in chosen:
        check_file(local)
    if not any(local.endswith(".safetensors") for local in chosen):
        message = f"{', '.join(chosen)} alone is no model; name its .safetensors file too"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="file")
    single = len(chosen) == 1
    files = [PlannedFile(local, _source(repository, file, network)) for local, file in sorted(chosen.items())]
    return Plan(
        id=model_id,
        name=repository.name,
        kind="",
        family="",
        licence=repository.licence,
        origin=repository.name,
        revision=repository.commit,
        single=single,
        files=tuple(files),
    )


def _source(repository: Repository, file: RemoteFile, network: Network) -> Source:
    return Source(repository.url(file.path, network), file.size, file.sha256, file.git_sha1)


def plan_url(url: str, *, model_id: str = "", sha256: str = "", licence: str = "") -> Plan:
    """A plan for one ``.safetensors`` file at an address.

    model_id: "" makes one of the address, which must then end in a ``.safetensors`` name. sha256: as its publisher
    says, "" takes what comes.
    """
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise ScumbleError(ErrorCode.INVALID_FIELD, "a SHA-256 has 64 hex digits", field="sha256")
    last = urlsplit(url).path.rsplit("/", 1)[-1]
    if "." in last or not model_id:
        check_file(f"model{Path(last).suffix}", field="url")
    model_id = check_id(model_id) if model_id else id_from(last)
    source = Source(url, sha256=sha256.lower())
    local = f"{model_id}.safetensors"
    return Plan(model_id, model_id, "", "", licence, shown(url), "", True, (PlannedFile(local, source),))


def download(plan: Plan, library: Library, network: Network, hooks: TransferHooks) -> LibraryRecord:
    """Carry out ``plan``; the model appears in the library whole or not at all.

    What an earlier attempt left of the same files is used. A model that is already there in this version is only
    looked at. Progress is that of all files together.
    Raises ScumbleError: those of :func:`fetch`; IN_USE; DISK_FULL before anything is fetched; MODEL_INVALID.
    """
    with library.changing(plan.id):
        library.check_free(plan.id)
        if library.has(plan.id) and (record := library.record(plan.id)) and _is_there(record, plan, library):
            return record
        incoming = library.incoming(plan.id)
        missing = plan.size - sum(min(part_bytes(incoming / file.local), file.source.size or 0) for file in plan.files)
        check_disk(library.folder, missing, network)
        together = _Together(hooks, plan.size)
        files = tuple(_fetch(file, incoming, network, together) for file in plan.files)
        kind, family = describe(incoming / plan.files[0].local if plan.single else incoming)
        record = LibraryRecord(
            id=plan.id,
            name=plan.name,
            kind=plan.kind or kind,
            family=plan.family or family,
            licence=plan.licence,
            source=plan.origin,
            revision=plan.revision,
            single=plan.single,
            linked=False,
            added=now(),
            files=files,
        )
        _drop_strangers(incoming, plan)
        library.install(record, incoming / plan.files[0].local if plan.single else incoming)
        shutil.rmtree(incoming, ignore_errors=True)
    return record


def _is_there(record: LibraryRecord, plan: Plan, library: Library) -> bool:
    """The same version, and every file of the size it should have; contents are for verify."""
    if (record.source, record.revision) != (plan.origin, plan.revision) or record.linked:
        return False
    if {file.path for file in record.files} != {file.local for file in plan.files}:
        return False
    wanted = {file.local: file.source.sha256 for file in plan.files}
    return all(
        (path := library.path_of(record, file)).is_file()
        and path.stat().st_size == file.size
        and wanted[file.path] in ("", file.sha256)
        for file in record.files
    )


def _fetch(file: PlannedFile, incoming: Path, network: Network, together: _Together) -> LibraryFile:
    """A file that was whole when an earlier attempt ended isn't fetched again, only read."""
    target = incoming / file.local
    if target.is_file():
        os.replace(target, target.with_name(f"{target.name}.part"))
    fetched = fetch(file.source, target, network, together)
    if target.suffix == ".safetensors":
        try:
            check_weights(target)
        except ScumbleError:
            target.unlink()
            raise
    together.next_file(fetched.size)
    return LibraryFile(file.local, fetched.size, fetched.sha256)


def _drop_strangers(incoming: Path, plan: Plan) -> None:
    """Files that a plan of another version left must not come into the model's folder."""
    wanted = {incoming / file.local for file in plan.files}
    for path in incoming.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


class _Together:
    """Progress of one file after the other as that of all."""

    def __init__(self, hooks: TransferHooks, total: int) -> None:
        self.hooks, self.total, self.before = hooks, total, 0

    def progress(self, done: int, total: int | None) -> None:
        self.hooks.progress(self.before + done, self.total or total)

    def check_cancelled(self) -> None:
        self.hooks.check_cancelled()

    def next_file(self, size: int) -> None:
        self.before += size
