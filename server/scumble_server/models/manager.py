"""What a :class:`~scumble_shared.library.LibraryJob` asks for, done: one call, on whichever thread calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import LibraryJob
from scumble_shared.library import LibraryAnswer

from .download import download
from .folder_list import add_folder, remove_folder
from .hub_search import search_hub
from .library import Library
from .library_import import import_model
from .shelf import Shelf
from .targets import plans_for
from .transfer import TransferHooks
from .transfer_http import Network

__all__ = ["ModelManager"]


@dataclass(frozen=True, slots=True)
class ModelManager:
    """network: asked for at each job, since settings may change while a server runs."""

    shelf: Shelf
    network: Callable[[], Network] = Network.from_environment

    @property
    def library(self) -> Library:
        return self.shelf.library

    def run(self, job: LibraryJob, hooks: TransferHooks) -> LibraryAnswer:
        """Raises ScumbleError, and whatever ``hooks`` raise to end it. Progress is in bytes."""
        if job.action == "search":
            hits = search_hub(job.target, self.network(), hooks)
            return LibraryAnswer(f"{len(hits)} found" if hits else "Nothing was found; try fewer words", hits=hits)
        actions: dict[str, Callable[[LibraryJob, TransferHooks], tuple[str, tuple[str, ...]]]] = {
            "list": lambda job, hooks: ("", ()),
            "get": self._get,
            "drop": self._drop,
            "import": self._import,
            "verify": self._verify,
            "delete": self._delete,
            "add_folder": self._add_folder,
            "remove_folder": self._remove_folder,
        }
        note, problems = actions[job.action](job, hooks)
        return LibraryAnswer(note, problems, listing=self.shelf.listing(self.network()))

    def _get(self, job: LibraryJob, hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        network = self.network()
        plans = plans_for(
            job.target,
            self.library,
            network,
            hooks,
            files=job.files,
            revision=job.revision,
            newest=job.newest,
            sha256=job.sha256.lower(),
            model_id=job.model_id,
        )
        together = _InARow(hooks, sum(plan.size for plan in plans))
        for plan in plans:
            download(plan, self.library, network, together)
            together.next_plan(plan.size)
        return f"{', '.join(plan.name for plan in plans)} {'is' if len(plans) == 1 else 'are'} here", ()

    def _drop(self, job: LibraryJob, _hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        freed = self.library.drop_unfinished(job.target)
        return f"{freed / 1e6:.1f} MB of an unfinished download dropped", ()

    def _import(self, job: LibraryJob, hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        source = _absolute(job.target)
        record = import_model(
            self.library,
            source,
            hooks,
            self.network(),
            model_id=job.model_id,
            licence=job.licence,
            link=job.link,
        )
        return f"{record.id} is in the library", ()

    def _verify(self, job: LibraryJob, hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        total, done = self.library.record(job.target).size, 0

        def counted(size: int) -> None:
            nonlocal done
            done += size
            hooks.check_cancelled()
            hooks.progress(done, total)

        problems = self.library.verify(job.target, counted)
        return (f"{job.target} is damaged" if problems else f"{job.target} is as it was fetched"), problems

    def _delete(self, job: LibraryJob, _hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        freed = self.library.delete(job.target, confirmed=job.confirmed)
        return f"{job.target} is gone; {freed / 1e9:.2f} GB are free again", ()

    def _add_folder(self, job: LibraryJob, _hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        folder = _absolute(job.target)
        add_folder(self.library.folder, folder)
        return f"Models in {folder} are read where they are", ()

    def _remove_folder(self, job: LibraryJob, _hooks: TransferHooks) -> tuple[str, tuple[str, ...]]:
        remove_folder(self.library.folder, Path(job.target))
        return f"{job.target} isn't read any longer", ()


class _InARow:
    """Progress of one model after the other as that of all."""

    def __init__(self, hooks: TransferHooks, total: int) -> None:
        self.hooks, self.total, self.before = hooks, total, 0

    def progress(self, done: int, total: int | None) -> None:
        self.hooks.progress(self.before + done, self.total or total)

    def check_cancelled(self) -> None:
        self.hooks.check_cancelled()

    def next_plan(self, size: int) -> None:
        self.before += size


def _absolute(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        remedy = Remedy("Give the whole path", RemedyAction.NONE)
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"{text!r} isn't a whole path", field="job.target", remedy=remedy)
    return path
