"""What the server said of its models last, and how that is put into words. No Blender in here."""

from __future__ import annotations

from dataclasses import dataclass

from scumble_shared.job import LibraryJob
from scumble_shared.library import LibraryAnswer, LibraryListing, SearchHit, ShelfModel

from ..jobs import JobRecord, JobState

__all__ = ["FAMILIES", "KINDS", "Shelf", "errand_fraction", "errand_text", "family_name", "size_text", "state_icon"]

FAMILIES = {
    "sd15": "SD 1.5",
    "sd15-custom": "SD 1.5, small",
    "sd2": "SD 2",
    "sdxl": "SDXL",
    "sd3": "SD 3",
    "flux": "FLUX",
    "starter": "Starter",
}
KINDS = {
    "checkpoint": "Model",
    "controlnet": "ControlNet",
    "lora": "LoRA",
    "adapter": "IP-Adapter",
    "encoder": "Image Encoder",
    "detector": "Detector",
    "vae": "VAE",
    "upscaler": "Upscaler",
    "estimator": "Maps",
    "other": "Other",
}
ICONS = {"ready": "CHECKMARK", "kept": "CHECKMARK", "unusable": "ERROR", "unfinished": "SORTTIME"}
VERBS = {
    "list": "Looking for models",
    "search": "Searching for {}",
    "get": "Downloading {}",
    "drop": "Dropping {}",
    "import": "Importing {}",
    "verify": "Verifying {}",
    "delete": "Deleting {}",
    "add_folder": "Reading {}",
    "remove_folder": "Leaving {}",
}
MEGABYTE = 1_000_000
NAME_LENGTH = 28


@dataclass(slots=True)
class Shelf:
    """listing: None until the server was asked. wanted: somebody looks and there is nothing to see yet."""

    listing: LibraryListing | None = None
    hits: tuple[SearchHit, ...] = ()
    note: str = ""
    problems: tuple[str, ...] = ()
    wanted: bool = False

    def take(self, answer: LibraryAnswer, action: str) -> None:
        if answer.listing is not None:
            self.listing = answer.listing
        if action == "search":
            self.hits = answer.hits
        if action != "list":
            self.note, self.problems = answer.note, answer.problems

    def clear(self) -> None:
        self.listing, self.hits, self.note, self.problems, self.wanted = None, (), "", (), False

    def model(self, model_id: str) -> ShelfModel | None:
        models = self.listing.models if self.listing else ()
        return next((model for model in models if model.id == model_id), None)


def size_text(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def family_name(family: str) -> str:
    return FAMILIES.get(family, family)


def state_icon(state: str) -> str:
    return ICONS.get(state, "QUESTION")


def errand_text(record: JobRecord) -> str:
    """One line about a library job that goes on."""
    job = record.job
    assert isinstance(job, LibraryJob)
    text = VERBS.get(job.action, "{}").format(_short(job.target))
    if record.state is JobState.WAITING:
        return f"Waiting: {text}"
    if record.steps:
        done, total = (size_text(count * MEGABYTE) for count in (record.step, record.steps))
        return f"{text}, {done} of {total}"
    return f"{text}, {size_text(record.step * MEGABYTE)}" if record.step else text


def errand_fraction(record: JobRecord) -> float:
    return min(max(record.fraction or 0.0, 0.0), 1.0)


def _short(target: str) -> str:
    """The last part of a path or an address, without its query."""
    last = target.partition("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2] or target
    return last if len(last) <= NAME_LENGTH else f"{last[: NAME_LENGTH - 1]}…"
