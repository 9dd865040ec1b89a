"""What can be done with the models on a server's disk, and what the server says of them.

A :class:`LibraryJob` is submitted as any other job, but done beside the queue: a download holds up no picture, and a
picture no download. Its result has one tensor, "answer": uint8 N, the UTF-8 JSON of a :class:`LibraryAnswer`
(:func:`answer_tensor`, :func:`read_answer`). Nothing touches the network but "search" and "get".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from .schema import decode, dumps, loads
from .tensor import AnyArray

__all__ = [
    "ANSWER",
    "LIBRARY_ACTIONS",
    "NETWORK_ACTIONS",
    "PLACE_ACTIONS",
    "CatalogueModel",
    "LibraryAnswer",
    "LibraryJob",
    "LibraryListing",
    "ModelFolder",
    "SearchHit",
    "ShelfModel",
    "StarterSet",
    "answer_tensor",
    "read_answer",
]

LIBRARY_ACTIONS = ("list", "search", "get", "drop", "import", "verify", "delete", "add_folder", "remove_folder")

NETWORK_ACTIONS = ("search", "get")
"""What touches the network; everything else stays on the server's machine."""

PLACE_ACTIONS = ("import", "add_folder", "remove_folder")
"""What names a file or folder; only for clients on the server's own machine."""

ANSWER = "answer"
"""Name of the result's tensor."""


@dataclass(frozen=True, slots=True)
class LibraryJob:
    """Something done with the server's models.

    action: of :data:`LIBRARY_ACTIONS`. target is, for
    "list": "". "search": words to look for on the model hub. "get": an id or starter set of the catalogue,
    ``OWNER/NAME`` on the hub, or an address. "drop": the id of a download that was broken off. "import": a
    ``.safetensors`` file or diffusers folder. "verify", "delete": a model's id. "add_folder", "remove_folder": a folder
    whose models are read where they are, such as that of ComfyUI.
    files: of a repository, these alone. revision: of a repository, a commit or branch. newest: don't keep to the
    commit that was fetched before. sha256: of an address, what its publisher names. model_id: what to call it, "" for
    what its name makes. licence: to note with an import. link: read an import where it is. confirmed: meant; "delete"
    needs it.
    """

    action: str
    target: str = ""
    files: tuple[str, ...] = ()
    revision: str = "main"
    newest: bool = False
    sha256: str = ""
    model_id: str = ""
    licence: str = ""
    link: bool = False
    confirmed: bool = False
    task: Literal["library"] = "library"


@dataclass(frozen=True, slots=True)
class ShelfModel:
    """A model on the server's disk, or on its way there.

    kind: "checkpoint", "controlnet", "lora", "vae", "adapter" (IP-Adapter), "encoder" (of images, for these),
    "detector" (makes control images of photos), "upscaler", "other". family: "sd15", ..., "" if it isn't known.
    size: bytes. licence, source: as far as they are known. state: "ready", "unusable" (reason says why),
    "unfinished" (part of a download; size is what has arrived) or "kept" (in the library, for uses besides painting).
    place: whose folder it lies in, "Scumble" for the library. own: Scumble put it there, and verifies and deletes it.
    """

    id: str
    name: str
    kind: str
    family: str
    size: int
    state: str = "ready"
    reason: str = ""
    licence: str = ""
    source: str = ""
    revision: str = ""
    place: str = "Scumble"
    own: bool = False


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that can be had by its id. size: bytes, about. runs: whether this version can use it."""

    id: str
    name: str
    kind: str
    family: str
    licence: str
    repo: str
    size: int
    about: str
    revision: str = ""
    runs: bool = True
    here: bool = False


@dataclass(frozen=True, slots=True)
class StarterSet:
    """Models of the catalogue that go together. vram: gigabytes of graphics memory they are meant for. size: bytes
    that are still to come."""

    id: str
    vram: int
    models: tuple[str, ...]
    about: str
    size: int = 0
    here: bool = False


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that is read in place. program: whose it is, "" for nobody's in particular. added: False for one that
    was found on the machine and isn't read unless somebody adds it. fixed: named when the server was started."""

    path: str
    program: str = ""
    added: bool = True
    fixed: bool = False
    models: int = 0


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A repository on the hub. family, kind, licence: as its tags say, "" if they don't. gated: its licence has to be
    accepted on its page first."""

    repo: str
    kind: str = ""
    family: str = ""
    licence: str = ""
    downloads: int = 0
    likes: int = 0
    gated: bool = False


@dataclass(frozen=True, slots=True)
class LibraryListing:
    """library: the folder that downloads go to. free: bytes free there. hub: where repositories come from. offline:
    the server was told to touch no network."""

    library: str
    free: int
    hub: str
    offline: bool = False
    models: tuple[ShelfModel, ...] = ()
    catalogue: tuple[CatalogueModel, ...] = ()
    sets: tuple[StarterSet, ...] = ()
    folders: tuple[ModelFolder, ...] = ()


@dataclass(frozen=True, slots=True)
class LibraryAnswer:
    """note: a sentence about what was done. problems: what verifying found, one sentence each. listing: as it is
    afterwards; None after a search."""

    note: str = ""
    problems: tuple[str, ...] = ()
    hits: tuple[SearchHit, ...] = ()
    listing: LibraryListing | None = None


def answer_tensor(answer: LibraryAnswer) -> AnyArray:
    """uint8 N."""
    return np.frombuffer(dumps(answer).encode(), np.uint8)


def read_answer(array: AnyArray) -> LibraryAnswer:
    """Raises ScumbleError for what isn't one."""
    return cast(LibraryAnswer, decode(LibraryAnswer, loads(np.ascontiguousarray(array).tobytes())))
