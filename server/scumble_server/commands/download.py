"""``scumble download``: the models in the library, and how they get there. Nothing is fetched unasked."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

from ..demo.progress_bar import ProgressBar
from ..models.catalogue import CATALOGUE, SETS, entry_of
from ..models.download import Plan, download
from ..models.hub_search import search_hub
from ..models.library import Library
from ..models.library_import import import_model
from ..models.shelf import can_run
from ..models.targets import plans_for
from ..models.transfer_http import HUB, Network

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="the library (default: $SCUMBLE_MODELS, or the user's data folder)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("catalogue", help="show models and starter sets that can be fetched by id")
    actions.add_parser("installed", help="show what is in the library, with licence and family")

    search = actions.add_parser("search", help="look for models on the hub by words")
    search.add_argument("words", nargs="+")
    search.add_argument("--mirror", default="", help=f"instead of {HUB} (or $SCUMBLE_MIRROR)")
    search.add_argument("--offline", action="store_true", help="touch no network (or $SCUMBLE_OFFLINE=1)")

    get = actions.add_parser("get", help="fetch models")
    get.add_argument("target", nargs="+", help="id or set of the catalogue, OWNER/NAME on the hub, or an address")
    get.add_argument("--file", action="append", default=[], help="of a repository: this file (may be repeated)")
    get.add_argument("--revision", default="main", help="of a repository: a commit or branch (default: main)")
    get.add_argument("--id", default="", help="what to call it in the library")
    get.add_argument("--sha256", default="", help="of an address: the checksum its publisher names")
    get.add_argument("--newest", action="store_true", help="don't keep to the commit that was fetched before")
    get.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    get.add_argument("--attempts", type=int, default=6, help="how often without progress before giving up (default: 6)")
    get.add_argument("--mirror", default="", help=f"instead of {HUB} (or $SCUMBLE_MIRROR)")
    get.add_argument("--offline", action="store_true", help="touch no network (or $SCUMBLE_OFFLINE=1)")

    take = actions.add_parser("import", help="take a .safetensors file or diffusers folder into the library")
    take.add_argument("path", type=Path)
    take.add_argument("--id", default="", help="what to call it in the library")
    take.add_argument("--licence", default="", help="to note with it")
    take.add_argument("--link", action="store_true", help="read it where it is instead of copying it")

    verify = actions.add_parser("verify", help="compare files with their checksums")
    verify.add_argument("id", nargs="*", help="default: all")

    delete = actions.add_parser("delete", help="delete a model")
    delete.add_argument("id")
    delete.add_argument("--yes", action="store_true", help="mean it")


def run(arguments: argparse.Namespace) -> int:
    library = Library(arguments.folder)
    actions: dict[str, Callable[[Library, argparse.Namespace], int]] = {
        "catalogue": _catalogue,
        "installed": _installed,
        "search": _search,
        "get": _get,
        "import": _import,
        "verify": _verify,
        "delete": _delete,
    }
    return actions[arguments.action](library, arguments)


class _Bar:
    """Progress of one model on the terminal, at most ten times a second."""

    def __init__(self, label: str) -> None:
        self.label, self.bar, self.begin, self.last = label, ProgressBar(sys.stdout), time.perf_counter(), 0.0

    def progress(self, done: int, total: int | None) -> None:
        now = time.perf_counter()
        if now - self.last >= 0.1:
            self.last = now
            self.bar.update(self.label, done / total if total else None, _size(done))

    def check_cancelled(self) -> None:
        """Ctrl-C raises by itself."""

    def done(self) -> None:
        self.bar.done(self.label, time.perf_counter() - self.begin)


def _size(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _catalogue(library: Library, _arguments: argparse.Namespace) -> int:
    for entry in CATALOGUE:
        there = " [in the library]" if library.has(entry.id) else ""
        usable = "" if can_run(entry.kind, entry.family) else " (this version can't run it yet)"
        what = f"{entry.kind:10} {entry.family:5} {entry.gigabytes:4.1f} GB  {entry.licence}"
        print(f"{entry.id:20} {what}{there}{usable}")
        print(f"{'':20} {entry.about}")
    print("\nStarter sets, by graphics memory:")
    for item in SETS:
        gigabytes = sum(entry_of(entry).gigabytes for entry in item.entries)
        print(f"{item.id:20} {gigabytes:4.1f} GB  {', '.join(item.entries)}")
        print(f"{'':20} {item.about}")
    return 0


def _installed(library: Library, _arguments: argparse.Namespace) -> int:
    records = library.records()
    for record in records:
        pinned = f" @ {record.revision[:12]}" if record.revision else ""
        link = " (link)" if record.linked else ""
        print(f"{record.id:20} {record.kind:10} {record.family or '?':5} {_size(record.size):>9}  "
              f"{record.licence or 'licence unknown'}  {record.source}{pinned}{link}")  # fmt: skip
    unfinished = library.unfinished()
    for model_id, size in unfinished.items():
        print(f"{model_id:20} unfinished: {_size(size)} have arrived; 'get' goes on, 'delete' drops it")
    if not records and not unfinished:
        print(f"Nothing yet in {library.folder}. See: scumble download catalogue")
    return 0


def _search(_library: Library, arguments: argparse.Namespace) -> int:
    network = Network.from_environment(offline=arguments.offline, mirror=arguments.mirror)
    hits = search_hub(" ".join(arguments.words), network, _Bar("search"))
    for hit in hits:
        gated = "  (accept its licence on its page first)" if hit.gated else ""
        known = f"{hit.kind or '?':10} {hit.family or '?':5} {hit.downloads:>10}  {hit.licence or 'licence unknown'}"
        print(f"{hit.repo:60} {known}{gated}")
    if not hits:
        print("Nothing was found; try fewer words")
    return 0


def _get(library: Library, arguments: argparse.Namespace) -> int:
    network = Network.from_environment(offline=arguments.offline, mirror=arguments.mirror)
    network = replace(network, attempts=arguments.attempts)
    for target in arguments.target:
        for plan in _plans(target, library, network, arguments):
            _announce(plan)
            if not arguments.dry_run:
                bar = _Bar(plan.id)
                record = download(plan, library, network, bar)
                bar.done()
                print(f"  in {library.location(record)}")
    return 0


def _announce(plan: Plan) -> None:
    size = _size(plan.size) if plan.size else "size unknown"
    print(f"{plan.id}: {plan.name}, {plan.licence or 'licence unknown'}, {len(plan.files)} files, {size}")
    print(f"  from {plan.origin}{f' @ {plan.revision}' if plan.revision else ''}")


def _plans(target: str, library: Library, network: Network, arguments: argparse.Namespace) -> list[Plan]:
    return plans_for(
        target,
        library,
        network,
        _Bar(target),
        files=tuple(arguments.file),
        revision=arguments.revision,
        newest=arguments.newest,
        sha256=arguments.sha256,
        model_id=arguments.id,
    )


def _import(library: Library, arguments: argparse.Namespace) -> int:
    bar = _Bar(arguments.path.name)
    network = Network.from_environment()
    record = import_model(
        library,
        arguments.path,
        bar,
        network,
        model_id=arguments.id,
        licence=arguments.licence,
        link=arguments.link,
    )
    bar.done()
    print(f"{record.id}: {record.kind} {record.family or 'of unknown family'}, in {library.location(record)}")
    return 0


def _verify(library: Library, arguments: argparse.Namespace) -> int:
    damaged: list[str] = []
    for model_id in arguments.id or [record.id for record in library.records()]:
        problems = library.verify(model_id)
        print(f"{model_id}: {'; '.join(problems) or 'as it was fetched'}")
        damaged += [model_id] if problems else []
    if damaged:
        message = f"damaged: {', '.join(damaged)}"
        remedy = Remedy("Delete it and get it again", RemedyAction.NONE)
        raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="id", remedy=remedy)
    return 0


def _delete(library: Library, arguments: argparse.Namespace) -> int:
    if arguments.id in library.unfinished():
        print(f"{_size(library.drop_unfinished(arguments.id))} of an unfinished download dropped")
        if not library.has(arguments.id):
            return 0
    freed = library.delete(arguments.id, confirmed=arguments.yes)
    print(f"{arguments.id} is gone; {_size(freed)} are free again")
    return 0
