"""Which names may become files: ids are plain words, never paths, and only harmless kinds of file are fetched."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import DEFAULT_MODEL

from .manifest import MANIFEST_NAME

__all__ = ["check_file", "check_id", "check_part", "id_from"]

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
ID_LENGTH = 60
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows gives to devices, with any ending; refused everywhere, since libraries travel on disks."""

CONFIG_FILES = {
    "model_index.json",
    "config.json",
    "generation_config.json",
    "scheduler_config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    MANIFEST_NAME,
}
"""The settings and word lists that diffusers, transformers and our index read; they hold data only."""

CODE = {
    ".ckpt": "a pickle checkpoint",
    ".pt": "a pickle checkpoint",
    ".pth": "a pickle checkpoint",
    ".bin": "a pickle checkpoint",
    ".pkl": "a pickle",
    ".py": "a program",
}


def check_id(text: str, field: str = "id") -> str:
    """``text`` if it can be the id of a model in the library. Raises ScumbleError INVALID_FIELD otherwise.

    Small letters and digits with single ``-`` between, at most 60: what the index would make of it, so that both use
    the same id. No Windows device name, not the built-in model's id.
    """
    if text == DEFAULT_MODEL:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"{text!r} is the built-in model's id", field=field)
    if not ID.fullmatch(text) or len(text) > ID_LENGTH or RESERVED.fullmatch(text):
        message = f"{text[:80]!r} can't be an id; use small letters and digits with '-' between"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=field, remedy=Remedy("Choose a plain name"))
    return text


def check_part(text: str, field: str) -> str:
    """``text`` if it is one plain file or folder name on every system. Raises ScumbleError INVALID_FIELD."""
    if not PLAIN.fullmatch(text) or text.endswith(".") or ".." in text or RESERVED.fullmatch(text):
        message = f"{text[:80]!r} can't be a name; use letters, digits, '.', '_' and '-', and no path"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=field, remedy=Remedy("Choose a plain name"))
    return text


def check_file(path: str, field: str = "file") -> PurePosixPath:
    """``path`` of a file inside a model folder, ``/`` between its parts, if it may be fetched.

    Raises ScumbleError INVALID_FIELD for a path that leads anywhere else, MODEL_INVALID for kinds of file that are
    refused: everything but ``.safetensors`` and the known settings files.
    """
    parts = path.split("/")
    if len(parts) > 4:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"{path[:80]!r} lies too deep", field=field)
    for part in parts:
        check_part(part, field)
    name = PurePosixPath(path)
    if not _allowed(name.name):
        raise _refused(path, name.suffix.lower(), field)
    return name


def _allowed(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json")) or name in CONFIG_FILES


def _refused(path: str, suffix: str, field: str) -> ScumbleError:
    if suffix in CODE:
        reason = f"is {CODE[suffix]}, which can run code when it is opened"
    else:
        reason = "is no kind of file that a model needs"
    return ScumbleError(
        ErrorCode.MODEL_INVALID,
        f"{path[:80]!r} {reason}; only .safetensors files and known settings files are taken",
        field=field,
        remedy=Remedy("Look for a .safetensors version of this model"),
    )


def id_from(name: str) -> str:
    """An id made from a file's or repository's name: its last part without ending, other characters as '-'.

    Raises ScumbleError INVALID_FIELD if nothing usable is left.
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower().removesuffix(".safetensors")
    return check_id(re.sub(r"[^a-z0-9]+", "-", last)[:ID_LENGTH].strip("-"))
