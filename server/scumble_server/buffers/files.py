"""PNG, NPY and common pictures as arrays: every size checked before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.tensor import AnyArray

__all__ = ["check_size", "read_npy", "read_picture", "refused"]

FORMATS = ("PNG", "JPEG", "WEBP")


def refused(field: str, message: str, remedy: Remedy | None = None) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field=field, remedy=remedy)


def check_size(width: int, height: int, path: Path, field: str) -> None:
    """Raises ScumbleError: INVALID_FIELD for a picture of no pixels, TOO_LARGE over the limits."""
    if width < 1 or height < 1:
        raise refused(field, f"{path.name} has no pixels")
    if max(width, height) > DEFAULT_LIMITS.image_side:
        raise _too_large(path, f"{width}x{height}", field)


def read_npy(path: Path, field: str) -> AnyArray:
    """A numeric array of two or three axes, height and width first. Raises ScumbleError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise refused(field, f"{path.name} can't be read as an .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise refused(field, f"{path.name} holds several arrays; save one with numpy.save")
    if array.ndim not in (2, 3) or array.dtype.kind not in "fui":
        raise refused(field, f"{path.name} holds {array.dtype} of shape {array.shape}, expected numbers H x W (x C)")
    check_size(array.shape[1], array.shape[0], path, field)
    return np.array(array)


def read_picture(path: Path, field: str) -> AnyArray:
    """PNG, JPEG or WebP as stored: uint8 or uint16 H x W, or uint8 H x W x 3. Raises ScumbleError.

    An alpha channel is dropped, a palette looked up, a printer's colours (CMYK) become those of a screen. Of a picture
    that moves the first is taken; one that a camera took on its side is turned.
    """
    try:
        with Image.open(path, formats=FORMATS) as stored:
            check_size(*stored.size, path, field)
            image: Image.Image = ImageOps.exif_transpose(stored)  # cameras write down which way is up
            if image.mode in ("I;16", "I;16B", "I"):
                return np.asarray(image).astype(np.uint16)
            return np.asarray(image.convert("L" if image.mode in ("L", "LA", "1") else "RGB"))
    except UnidentifiedImageError as error:
        raise refused(field, f"{path.name} is not a {', '.join(FORMATS)} picture") from error
    except Image.DecompressionBombError as error:  # larger than Pillow itself would look at
        raise _too_large(path, "far too large", field) from error
    except (OSError, SyntaxError) as error:
        raise refused(field, f"{path.name} can't be read: {error}") from error


def _too_large(path: Path, what: str, field: str) -> ScumbleError:
    side = DEFAULT_LIMITS.image_side
    message = f"{path.name} is {what}; at most {side} pixels a side can be used"
    return ScumbleError(ErrorCode.TOO_LARGE, message, field=field, remedy=Remedy("Make the picture smaller"))
