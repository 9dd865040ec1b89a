"""All that is known of the models on this machine's disk, and of those that could be had: for the model manager."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scumble_shared.errors import ScumbleError
from scumble_shared.library import CatalogueModel, LibraryListing, ModelFolder, ShelfModel, StarterSet

from .builtin import STARTER_FOLDER, seeded_folder
from .catalogue import CATALOGUE, SETS, CatalogueEntry
from .families import runs_like
from .folder_list import read_folders, with_added
from .library import Library, LibraryRecord
from .library_import import describe
from .manifest import MANIFEST_NAME, parse_manifest, read_json
from .places import likely_places, program_of
from .safetensors_header import BadFileError
from .scan import scan
from .transfer_http import Network

__all__ = ["Shelf", "can_run"]

PAINT = ("checkpoint", "controlnet", "lora", "adapter")
ANY_FAMILY = ("encoder", "detector")
"""Image encoders go with adapters, detectors with ControlNets of any family."""

KIND_OF_GROUP = {
    "models": "checkpoint",
    "controlnets": "controlnet",
    "upscalers": "upscaler",
    "estimators": "estimator",
    "loras": "lora",
    "adapters": "adapter",
    "encoders": "encoder",
    "detectors": "detector",
}
"""Group of the index -> kind of what is in it."""

KEPT = ("lora", "vae")
"""Kinds that are no model by themselves, so that the index refuses them, and that have their place all the same."""


def can_run(kind: str, family: str) -> bool:
    """Whether this version has a use for models of this kind and family."""
    return kind in ANY_FAMILY or (kind in PAINT and runs_like(family))


@dataclass(frozen=True, slots=True)
class Shelf:
    """folders: named when the server was started. looks_around: tells where other programs' folders are."""

    library: Library
    folders: tuple[Path, ...]
    looks_around: Callable[[], Iterable[Path]] = likely_places

    def listing(self, network: Network) -> LibraryListing:
        """Walks through the folders; touches no network. network: how it would be reached."""
        models = self._models()
        here = {model.id for model in models if model.own and model.state in ("ready", "kept")}
        catalogue = tuple(self._offered(entry, here) for entry in CATALOGUE)
        return LibraryListing(
            library=str(self.library.folder),
            free=_free(self.library.folder),
            hub=network.hub,
            offline=network.offline,
            models=models,
            catalogue=catalogue,
            sets=tuple(_sets(catalogue)),
            folders=tuple(self._folders(models)),
        )

    def _models(self) -> tuple[ShelfModel, ...]:
        index = scan((self.library.folder, *self.folders))
        records = {self.library.location(record): record for record in self.library.records()}
        places = [(folder, _place(folder)) for folder in with_added((self.library.folder, *self.folders))]
        places[0] = (places[0][0], "Scumble")
        found: list[ShelfModel] = []
        for group in fields(index):
            for entry in getattr(index, group.name):
                record = records.pop(entry.path, None)
                kind = KIND_OF_GROUP.get(group.name, "other")
                found.append(_shelved(entry, kind, record, _place_of(entry.path, places)))
        found += [_gone(record) for record in records.values()]
        arrived = {model.id for model in found}
        found += [_unfinished(i, size) for i, size in self.library.unfinished().items() if i not in arrived]
        return tuple(found)

    def _offered(self, entry: CatalogueEntry, here: set[str]) -> CatalogueModel:
        return CatalogueModel(
            id=entry.id,
            name=entry.name,
            kind=entry.kind,
            family=entry.family,
            licence=entry.licence,
            repo=entry.repo,
            size=round(entry.gigabytes * 1e9),
            about=entry.about,
            revision=entry.revision,
            runs=can_run(entry.kind, entry.family),
            here=entry.id in here,
        )

    def _folders(self, models: Iterable[ShelfModel]) -> Iterable[ModelFolder]:
        counted: dict[str, int] = {}
        for model in models:
            counted[model.place] = counted.get(model.place, 0) + 1
        added = read_folders(self.library.folder)
        known = (*self.folders, *added)
        for folder in known:
            place = _place(folder)
            yield ModelFolder(str(folder), program_of(folder), fixed=folder not in added, models=counted.get(place, 0))
        for folder in self.looks_around():
            if folder.resolve() not in {other.resolve() for other in known}:
                yield ModelFolder(str(folder), program_of(folder), added=False)


def _shelved(entry: Any, kind: str, record: LibraryRecord | None, place: str) -> ShelfModel:
    """entry: of the index, usable or not."""
    state, reason, family = "ready", "", str(getattr(entry, "family", ""))
    if reason := getattr(entry, "reason", ""):
        kind, family = (record.kind, record.family) if record else _described(entry.path)
        state = "kept" if kind in KEPT else "unusable"
    return ShelfModel(
        id=entry.id,
        name=record.name if record and record.name else entry.name,
        kind=kind,
        family=family,
        size=record.size if record else _size(entry.path),
        state=state,
        reason="" if state == "kept" else reason,
        licence=record.licence if record else _licence(entry.path),
        source=record.source if record else "",
        revision=record.revision if record else "",
        place=place,
        own=record is not None,
    )


def _licence(path: Path) -> str:
    """As it says itself."""
    try:
        return parse_manifest(read_json(path / MANIFEST_NAME if path.is_dir() else path.with_suffix(".json"))).licence
    except BadFileError:
        return ""


def _described(path: Path) -> tuple[str, str]:
    """Kind and family of something the index has no use for."""
    if path.suffix.lower() != ".safetensors" and not path.is_dir():
        return "other", ""
    try:
        return describe(path)
    except ScumbleError:
        return "other", ""


def _gone(record: LibraryRecord) -> ShelfModel:
    reason = "its files are gone; delete it here, or get it again"
    return ShelfModel(record.id, record.name, record.kind, record.family, 0, "unusable", reason, own=True)


def _unfinished(model_id: str, size: int) -> ShelfModel:
    known = next((entry for entry in CATALOGUE if entry.id == model_id), None)
    kind, family = (known.kind, known.family) if known else ("other", "")
    return ShelfModel(model_id, known.name if known else model_id, kind, family, size, "unfinished", own=True)


def _sets(catalogue: Iterable[CatalogueModel]) -> Iterable[StarterSet]:
    by_id: Mapping[str, CatalogueModel] = {model.id: model for model in catalogue}
    for item in SETS:
        missing = [by_id[entry] for entry in item.entries if not by_id[entry].here]
        size = sum(model.size for model in missing)
        yield StarterSet(item.id, item.vram, item.entries, item.about, size, here=not missing)


def _place(folder: Path) -> str:
    return program_of(folder) or folder.name or str(folder)


def _place_of(path: Path, places: Iterable[tuple[Path, str]]) -> str:
    if path in (STARTER_FOLDER, seeded_folder()):
        return "built-in"
    return next((name for folder, name in places if path.is_relative_to(folder)), "")


def _size(path: Path) -> int:
    """Bytes; links are followed, for that is how the Hugging Face cache keeps its files."""
    try:
        if path.is_file():
            return path.stat().st_size
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    except OSError:
        return 0


def _free(folder: Path) -> int:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return shutil.disk_usage(existing).free if existing else 0
