"""Where wildcards and styles lie on this machine, for Blender and the command line alike."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ErrorCode, Remedy, ScumbleError
from ..runtime import data_dir
from .styles import Style, read_styles, write_styles

__all__ = [
    "WildcardFolder",
    "default_styles_file",
    "default_wildcard_folder",
    "read_style_file",
    "write_style_file",
]

FILE_BYTES = 4 * 1024 * 1024
FILES = 2000


def default_wildcard_folder() -> Path:
    """Need not exist."""
    return data_dir() / "wildcards"


def default_styles_file() -> Path:
    """Need not exist."""
    return data_dir() / "styles.csv"


class WildcardFolder:
    """Text files below a folder: ``trees/oak.txt`` is the wildcard ``trees/oak``. Lines; ``#`` begins a remark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: dict[str, tuple[str, ...]] = {}

    def names(self) -> tuple[str, ...]:
        """All wildcards there are, sorted."""
        if not self.folder.is_dir():
            return ()
        found = sorted(self.folder.rglob("*.txt"))[:FILES]
        return tuple(path.relative_to(self.folder).with_suffix("").as_posix() for path in found)

    def __call__(self, name: str) -> Sequence[str]:
        """The lines of a wildcard; a ``*`` in ``name`` is any of several. Raises ScumbleError INVALID_FIELD."""
        if name not in self._lines:
            self._lines[name] = tuple(line for found in self._matching(name) for line in self._read(found))
        return self._lines[name]

    def _matching(self, name: str) -> list[str]:
        """Only names that were found by looking: no text of a prompt becomes a path."""
        pattern = re.compile(".*".join(map(re.escape, name.strip().casefold().split("*"))))
        found = [other for other in self.names() if pattern.fullmatch(other.casefold())]
        if not found:
            known = ", ".join(self.names()[:8]) or "none"
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"there is no wildcard {name[:60]}; there are {known}",
                field="prompt",
                remedy=Remedy(f"Put a text file {name[:60]}.txt into {self.folder}"),
            )
        return found

    def _read(self, name: str) -> list[str]:
        path = self.folder / f"{name}.txt"
        text = _text_of(path, "prompt")
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def read_style_file(path: Path) -> tuple[Style, ...]:
    """The styles in a file, none if it isn't there. Raises ScumbleError INVALID_FIELD."""
    return read_styles(_text_of(path, "styles")) if path.exists() else ()


def write_style_file(path: Path, styles: Sequence[Style]) -> None:
    """In one step. Raises ScumbleError INVALID_FIELD where it can't be written."""
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(write_styles(styles), encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"{path} can't be written: {error.strerror or error}", field="styles"
        ) from error


def _text_of(path: Path, field: str) -> str:
    try:
        if path.stat().st_size > FILE_BYTES:
            raise ScumbleError(ErrorCode.TOO_LARGE, f"{path.name} is over {FILE_BYTES // 1024**2} MiB", field=field)
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        message = f"{path} can't be read: {error.strerror or error}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=field) from error
