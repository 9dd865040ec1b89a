"""The settings in a PNG file, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import ErrorCode, ScumbleError
from .chunks import READABLE, text_chunks
from .comfy import read_graph
from .infotext import read_infotext
from .record import read_record
from .settings import ImageSettings

__all__ = ["CHUNK", "PARAMETERS", "read_settings", "settings_in"]

CHUNK = "scumble"
"""Keyword of our own text chunk, see :func:`.record.record`."""

PARAMETERS = "parameters"
"""Keyword of A1111's, which ComfyUI and many viewers read too."""


def read_settings(path: Path) -> ImageSettings:
    """The settings in a PNG file, from our own chunk, else A1111's ``parameters``, else a ComfyUI ``prompt`` graph.

    No pixel is decoded. Raises ScumbleError INVALID_FIELD (field ``path`` or that of the setting at fault) for a
    file that isn't PNG, is damaged or carries no settings, TOO_LARGE for an absurd amount of text.
    """
    return settings_in(text_chunks(path), path.name)


def settings_in(texts: dict[str, str], name: str) -> ImageSettings:
    """Likewise, of text chunks by keyword; name: of what they were found in."""
    problem = ""
    if CHUNK in texts:
        try:
            return read_record(texts[CHUNK])
        except ScumbleError as error:
            if PARAMETERS not in texts:
                raise
            problem = f"Scumble's own record can't be read ({error}); the A1111 text is used"
    if PARAMETERS in texts:
        found = read_infotext(texts[PARAMETERS])
    elif "prompt" in texts:
        found = read_graph(texts["prompt"])
    else:
        message = f"{name} carries no settings; tools that re-save or send a picture often drop them"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="path", remedy=READABLE)
    return replace(found, notes=(problem, *found.notes)) if problem else found
