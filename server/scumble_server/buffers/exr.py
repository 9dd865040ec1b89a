"""Layers of an OpenEXR file, found under the names that Blender and others give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.tensor import AnyArray

from .files import check_size, refused

__all__ = ["read_exr_depth", "read_exr_ids", "read_exr_normal"]

DEPTH_NAMES = ("depth.z", "depth.v", "depth.y", "depth", "z")
"""Last parts of a channel's name, best first: Blender's pass, one-channel images, the OpenEXR convention."""

NORMAL_NAMES = (
    ("normal.x", "normal.y", "normal.z"),
    ("normal.r", "normal.g", "normal.b"),
    ("n.x", "n.y", "n.z"),
    ("r", "g", "b"),
)


ID_NAMES = ("indexob.x", "object index.x", "object_id", "ids", "id", "y")
"""Blender's pass up to 4.5 and from 5.0 on, then what others call it, and the only channel of a grey file."""

PASSES = {"ids": "Object Index"}
"""What Blender calls what isn't called by its name there."""


def read_exr_depth(path: Path) -> AnyArray:
    """The depth layer as stored, float32 H x W. Raises ScumbleError."""
    return _read(path, "depth", [(name,) for name in DEPTH_NAMES])[0]


def read_exr_ids(path: Path) -> AnyArray:
    """The layer of object ids as stored, float32 H x W. Raises ScumbleError."""
    return _read(path, "ids", [(name,) for name in ID_NAMES])[0]


def read_exr_normal(path: Path) -> AnyArray:
    """The normal layer as stored, float32 H x W x 3. Raises ScumbleError."""
    return np.stack(_read(path, "normal", NORMAL_NAMES), axis=-1)


def _read(path: Path, field: str, wanted: Sequence[tuple[str, ...]]) -> list[AnyArray]:
    library = _library(field)
    header = _open(library, path, field, header_only=True)
    names = [name for part in header.parts for name in _channel_names(part)]
    chosen = next((found for group in wanted if (found := _find(names, group))), None)
    if chosen is None:
        shown = ", ".join(names[:12]) or "none"
        raise refused(field, f"{path.name} has no {field} layer; its channels are {shown}", _ask_for_pass(field))
    for part in header.parts:
        _check_windows(part.header, path, field)
    content = _open(library, path, field, header_only=False)
    channels = {name: channel for part in content.parts for name, channel in part.channels.items()}
    if any(name not in channels for name in chosen):
        raise refused(field, f"{path.name} is damaged or cut off: the {field} layer can't be read")
    return [np.asarray(channels[name].pixels, np.float32) for name in chosen]


def _library(field: str) -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            "reading .exr files needs the OpenEXR package",
            field=field,
            remedy=Remedy("Install it: pip install 'scumble[exr]'"),
        ) from None
    return OpenEXR


def _open(library: Any, path: Path, field: str, *, header_only: bool) -> Any:
    try:
        return library.File(str(path), separate_channels=True, header_only=header_only)
    except (RuntimeError, ValueError, TypeError) as error:
        raise refused(field, f"{path.name} can't be read as an OpenEXR file: {error}") from error


def _channel_names(part: Any) -> list[str]:
    return [channel.name for channel in part.header["channels"]]


def _find(names: Sequence[str], endings: tuple[str, ...]) -> list[str] | None:
    """The first layer that has a channel for every ending."""
    for name in names:
        lower = name.lower()
        if lower == endings[0] or lower.endswith("." + endings[0]):
            prefix = name[: len(name) - len(endings[0])]
            layer = [other for ending in endings for other in names if other.lower() == prefix.lower() + ending]
            if len(layer) == len(endings):
                return layer
    return None


def _check_windows(header: Any, path: Path, field: str) -> None:
    (left, top), (right, bottom) = header["dataWindow"]
    check_size(int(right) - int(left) + 1, int(bottom) - int(top) + 1, path, field)
    if not np.array_equal(header["dataWindow"], header["displayWindow"]):
        message = f"{path.name} holds only a part of its picture"
        raise refused(field, message, Remedy("Render without a border, or with “Crop to Render Region”"))


def _ask_for_pass(field: str) -> Remedy:
    name = PASSES.get(field, field.title())
    return Remedy(f"In Blender switch on the {name} pass of the view layer and save as OpenEXR MultiLayer")
