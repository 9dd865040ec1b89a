"""PNG files that say how they were made."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray

from .infotext import infotext

__all__ = ["CHUNK", "png_bytes"]

CHUNK = "scumble"
"""Keyword of our text chunk: JSON ``{"format": 1, "scumble": VERSION, "index": I, "job": {...}, "provenance": {...}}``."""


def png_bytes(image: AnyArray, job: GenerateJob, provenance: str = "{}", *, index: int = 0) -> bytes:
    """``image`` (uint8 H x W x 3, sRGB, top row first) as a PNG file that carries the job that made it.

    provenance: JSON object, as in a result. index: which image of the job's batch this is.
    Chunks: ``scumble`` (see :data:`CHUNK`) and A1111's ``parameters``, which ComfyUI reads too.
    Raises ScumbleError INVALID_FIELD for an array or provenance of another kind.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        message = f"expected a uint8 image H x W x 3, got {image.dtype} {image.shape}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="image")
    info = PngInfo()
    info.add_text("parameters", infotext(job, index=index, version=__version__))
    info.add_text(CHUNK, _record(job, provenance, index))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _record(job: GenerateJob, provenance: str, index: int) -> str:
    """The JSON of our chunk. A job inside the provenance is left out: it is the same one."""
    try:
        facts = json.loads(provenance)
    except json.JSONDecodeError as error:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"not JSON: {error}", field="provenance") from error
    if not isinstance(facts, dict):
        raise ScumbleError(ErrorCode.INVALID_FIELD, "expected a JSON object", field="provenance")
    facts.pop("job", None)
    record = {"format": 1, "scumble": __version__, "index": index, "job": asdict(job), "provenance": facts}
    return json.dumps(record, separators=(",", ":"))
