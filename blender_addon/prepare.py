"""What the network thread makes of arriving pictures, so that the main thread only hands them to Blender."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scumble_shared import __version__
from scumble_shared.client import Arrived
from scumble_shared.errors import ErrorCode, ErrorInfo, ScumbleError
from scumble_shared.job import MAPS, AnyJob, GenerateJob
from scumble_shared.library import ANSWER, LibraryAnswer, LibraryJob, read_answer
from scumble_shared.messages import Preview, Result
from scumble_shared.metadata import infotext

from .jobs import JobRecord
from .png import png_bytes

__all__ = ["Painting", "Picture", "finished", "float_pixels", "prepare"]

ICON_SIDE = 256
"""Largest side of the small copy shown in panels, pixels."""

RECORD_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """pixels: uint8 or uint16 H x W x 1, 3 or 4, top row first. png: the same as a file with its provenance.

    name: of the result; tells whether it is a colour (:attr:`is_color`). icon: float32 h x w x 4, bottom row first,
    small. record: provenance as JSON text.
    """

    name: str
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    png: bytes
    icon: NDArray[np.float32]
    record: str

    @property
    def is_color(self) -> bool:
        """Rather than numbers, as most maps of a material have."""
        return _is_color(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """The first picture of a live job: nothing is encoded that may never be kept.

    pixels: uint8 H x W x 3, top row first. shown: float32 H x W x 4, bottom row first. at: when it was ready on the
    network thread, ``time.perf_counter``; Blender may have been busy drawing since.
    """

    pixels: NDArray[np.uint8]
    shown: NDArray[np.float32]
    at: float


def prepare(arrived: Arrived, record: JobRecord) -> object:
    """A result becomes a dict of pictures by name (a Painting in live mode), or the error in it; a preview becomes
    pixels for the overlay."""
    if isinstance(arrived.message, Preview):
        return float_pixels(arrived.tensors["preview"])
    if not isinstance(arrived.message, Result):
        return None
    if isinstance(record.job, LibraryJob):
        return _answer(arrived)
    if record.target.live:
        return _painting(next(iter(arrived.tensors.values())))
    pictures = {}
    for index, (name, array) in enumerate(arrived.tensors.items()):
        if array.dtype.name not in ("uint8", "uint16") or array.ndim not in (2, 3) or not array.size:
            return ErrorInfo(ErrorCode.INVALID_RESULT, f"{name} isn't a picture: {array.dtype} {array.shape}")
        if not name.startswith("weight/"):
            told = _record(record, arrived.message.provenance, index)
            pictures[name] = _picture(name, array, told, _parameters(record.job, name))
    return pictures


def finished(record: JobRecord) -> JobRecord:
    """A live job as an ordinary one: its picture encoded, with its provenance. Some tens of milliseconds."""
    name, pixels = "image/0", record.prepared.pixels
    picture = _picture(name, pixels, _record(record, record.provenance, 0), _parameters(record.job, name))
    return replace(record, prepared={name: picture}, target=replace(record.target, live=False))


def _answer(arrived: Arrived) -> LibraryAnswer | ErrorInfo:
    try:
        return read_answer(arrived.tensors[ANSWER])
    except (KeyError, ScumbleError) as error:
        return ErrorInfo(ErrorCode.INVALID_RESULT, f"the server's answer about its models can't be read: {error}")


def _painting(pixels: NDArray[np.uint8]) -> Painting | ErrorInfo:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or not pixels.size:
        return ErrorInfo(ErrorCode.INVALID_RESULT, f"the result isn't a picture: {pixels.dtype} {pixels.shape}")
    return Painting(pixels, float_pixels(pixels), time.perf_counter())


def float_pixels(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    """uint8 or uint16 H x W x C, top row first -> float32 H x W x 4 in [0, 1], bottom row first, as Blender has
    images."""
    height, width, channels = pixels.shape
    limit = np.iinfo(pixels.dtype).max
    placed = np.empty((height, width, 4), pixels.dtype)
    placed[..., 3] = limit
    # One channel after the other, as numpy is slow over rows of three; and where they are small.
    for channel in range(max(channels, 3)):
        placed[..., channel] = pixels[::-1, :, min(channel, channels - 1)]
    return np.multiply(placed, np.float32(1.0 / limit), dtype=np.float32)


def _picture(name: str, array: NDArray[np.uint8] | NDArray[np.uint16], record: str, parameters: str) -> Picture:
    pixels = array if array.ndim == 3 else array[..., None]
    stride = max(1, -(-max(pixels.shape[:2]) // ICON_SIDE))
    png = png_bytes(pixels, record, is_color=_is_color(name), parameters=parameters)
    return Picture(name, pixels, png, float_pixels(pixels[::stride, ::stride]), record)


def _parameters(job: AnyJob, name: str) -> str:
    """What A1111 and ComfyUI read of a generated picture, "" of any other."""
    kind, _, index = name.partition("/")
    if not isinstance(job, GenerateJob) or kind != "image":
        return ""
    return infotext(job, index=int(index), version=__version__)


def _is_color(name: str) -> bool:
    kind = name.split("/", 1)[0]
    return kind not in MAPS or kind == "albedo"


def _record(record: JobRecord, provenance: str, index: int) -> str:
    """As the server's own files have it, so that ``scumble generate --like`` reads it back."""
    try:
        facts = json.loads(provenance)
    except ValueError:
        facts = {}
    if isinstance(facts, dict):
        facts.pop("job", None)
    content = {
        "format": RECORD_FORMAT,
        "scumble": __version__,
        "index": index,
        "job": asdict(record.job),
        "provenance": facts,
    }
    return json.dumps(content, separators=(",", ":"))
