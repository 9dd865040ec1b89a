"""PNG files that say how they were made: written, and read back whoever wrote them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray

from .chunks import READABLE, text_chunks
from .comfy import read_graph
from .infotext import infotext, read_infotext
from .record import read_record, record
from .settings import ImageSettings

__all__ = ["png_bytes", "read_settings"]

CHUNK = "scumble"
"""Keyword of our own text chunk, see :func:`record.record`."""


def png_bytes(image: AnyArray, job: GenerateJob, provenance: str = "{}", *, index: int = 0) -> bytes:
    """``image`` (uint8 H x W x 3, sRGB, top row first) as a PNG file that carries the job that made it.

    provenance: JSON object, as in a result. index: which image of the job's batch this is.
    Chunks: ``scumble`` with the whole job, and A1111's ``parameters``, which ComfyUI reads too.
    Raises ScumbleError INVALID_FIELD for an array or provenance of another kind, or a job that can't be JSON.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        message = f"expected a uint8 image H x W x 3, got {image.dtype} {image.shape}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="image")
    own = record(job, provenance, index)
    info = PngInfo()
    info.add_text("parameters", infotext(job, index=index, version=__version__))
    info.add_text(CHUNK, own)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_settings(path: Path) -> ImageSettings:
    """The settings in a PNG file, from our own chunk, else A1111's ``parameters``, else a ComfyUI ``prompt`` graph.

    No pixel is decoded. Raises ScumbleError INVALID_FIELD (field ``path`` or that of the setting at fault) for a
    file that isn't PNG, is damaged or carries no settings, TOO_LARGE for an absurd amount of text.
    """
    texts = text_chunks(path)
    problem = ""
    if CHUNK in texts:
        try:
            return read_record(texts[CHUNK])
        except ScumbleError as error:
            if "parameters" not in texts:
                raise
            problem = f"Scumble's own record can't be read ({error}); the A1111 text is used"
    if "parameters" in texts:
        found = read_infotext(texts["parameters"])
    elif "prompt" in texts:
        found = read_graph(texts["prompt"])
    else:
        message = f"{path.name} carries no settings; tools that re-save or send a picture often drop them"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="path", remedy=READABLE)
    return replace(found, notes=(problem, *found.notes)) if problem else found
