"""Pictures for another program and back: PNG files of a size it can make, cropped to what was asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, ControlImagesJob, GenerateJob
from scumble_shared.tensor import AnyArray, Digest
from scumble_shared.validate_controls import no_detector

__all__ = ["Canvas", "control_pictures", "decoded", "encoded", "pasted", "start_pictures"]

MULTIPLE = 8
"""Pixels of a latent; sides are rounded up to it."""

SMALLEST = 64
PIXELS = 8192 * 8192


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is generated for a picture of ``width`` x ``height``."""

    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height that are generated."""
        across, down = (max(-(-side // MULTIPLE) * MULTIPLE, SMALLEST) for side in (self.width, self.height))
        return across, down

    def filled(self, picture: AnyArray) -> AnyArray:
        """``picture`` (height x width [x C]) grown to the right and below by its own edge."""
        across, down = self.size
        grown = ((0, down - self.height), (0, across - self.width), *([(0, 0)] * (picture.ndim - 2)))
        return np.pad(picture, grown, mode="edge")

    def cropped(self, picture: AnyArray) -> AnyArray:
        """Raises ScumbleError INVALID_RESULT if ``picture`` isn't of the size that was asked for."""
        across, down = self.size
        if picture.shape[:2] != (down, across):
            message = f"a picture of {picture.shape[1]} x {picture.shape[0]} came instead of {across} x {down}"
            raise ScumbleError(ErrorCode.INVALID_RESULT, message)
        return np.ascontiguousarray(picture[: self.height, : self.width])


def encoded(picture: AnyArray) -> bytes:
    """uint8 H x W or H x W x 3 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decoded(data: bytes) -> AnyArray:
    """uint8 H x W x 3 of a PNG, JPEG or WebP file. Raises ScumbleError INVALID_RESULT for anything else."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > PIXELS:
                raise ValueError("it is too large")
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ScumbleError(ErrorCode.INVALID_RESULT, f"the other program's picture can't be read: {error}") from error


def control_pictures(job: GenerateJob | ControlImagesJob, tensors: Mapping[Digest, AnyArray]) -> list[AnyArray]:
    """What each of the job's controls shows its ControlNet, uint8 height x width x 3: drawn as for our own engine."""
    from ..engine.conditioning import view_buffers
    from ..engine.control_pictures import Detected, Shown
    from ..engine.control_pictures import control_pictures as drawn

    def nobody(control: Control, number: int, picture: AnyArray, size: tuple[int, int]) -> Detected:
        """What looks at pictures with models belongs to our own engine."""
        raise no_detector(control.kind, f"job.controls[{number}]")

    view = None if job.view is None else view_buffers(job.view, tensors)
    return drawn(job.controls, Shown(tensors, nobody, view, job.init_image), job.width, job.height).shown


def start_pictures(job: GenerateJob, tensors: Mapping[Digest, AnyArray]) -> tuple[AnyArray | None, AnyArray | None]:
    """The picture to begin with, and its mask (255 is repainted), in the job's size."""
    from ..engine.pixels import image_array, mask_array

    if job.init_image is None:
        return None, None
    start = image_array(tensors[job.init_image], job.width, job.height, "job.init_image")
    return start, None if job.mask is None else mask_array(tensors[job.mask], job.width, job.height)


def pasted(picture: AnyArray, start: AnyArray, mask: AnyArray) -> AnyArray:
    """``picture`` where the mask repaints, ``start`` to the byte where it keeps."""
    from ..engine.pixels import paste

    return paste(picture, start, mask)
