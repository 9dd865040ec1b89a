"""PNG files that say how they were made."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.metadata import CHUNK, PARAMETERS, infotext, record
from scumble_shared.tensor import AnyArray

__all__ = ["png_bytes"]


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
    info.add_text(PARAMETERS, infotext(job, index=index, version=__version__))
    info.add_text(CHUNK, own)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
