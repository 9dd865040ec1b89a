"""Buffers of other programs into the conventions of :class:`scumble_shared.job.View`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scumble_shared.camera import Camera
from scumble_shared.errors import Remedy
from scumble_shared.tensor import AnyArray

from .exr import read_exr_depth, read_exr_ids, read_exr_normal
from .files import read_npy, read_picture, refused

__all__ = ["DEPTH_KINDS", "NORMAL_SPACES", "read_color", "read_depth", "read_ids", "read_mask", "read_normal"]

DEPTH_KINDS = ("planar", "inverse")
"""planar: distance along the viewing axis (Blender's Depth pass). inverse: 1 / distance up to a factor, 0 for the
background, as depth estimators and ControlNet pictures have it (near is white)."""

NORMAL_SPACES = ("view", "world")
"""view: x right, y up, z towards the viewer. world: Blender's Normal pass; needs the camera to be turned."""

BACKGROUND = 1e9
"""Planar depths from here on are background: Blender writes 1e10, half floats end at 65504 = infinity."""


def read_depth(path: Path, kind: str = "planar") -> AnyArray:
    """float32 H x W, planar, inf where nothing is hit. Raises ScumbleError for what can't be a depth."""
    if path.suffix.lower() == ".exr":
        values = read_exr_depth(path)
    elif path.suffix.lower() == ".npy":
        values = read_npy(path, "depth")
    else:
        values = _depth_picture(path, kind)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2:
        raise refused("depth", f"{path.name} has shape {values.shape}; a depth has one value a pixel")
    values = values.astype(np.float32)
    if np.isnan(values).any():
        raise refused("depth", f"{path.name} has NaN at {int(np.isnan(values).sum())} pixels")
    return _from_inverse(values, path) if kind == "inverse" else _from_planar(values, path)


def _depth_picture(path: Path, kind: str) -> AnyArray:
    if kind != "inverse":
        message = f"{path.name} is a picture and can't hold distances in scene units"
        remedy = Remedy("Use an .exr or .npy file, or --depth-kind inverse if near is white in it")
        raise refused("depth", message, remedy)
    picture = read_picture(path, "depth")
    if picture.ndim == 3:
        if not (picture == picture[:, :, :1]).all():
            raise refused("depth", f"{path.name} is coloured; a depth picture is grey, near is white")
        picture = picture[:, :, 0]
    return picture / np.float32(np.iinfo(picture.dtype).max)


def _from_planar(values: AnyArray, path: Path) -> AnyArray:
    if (values <= 0.0).any():
        message = f"{path.name} has distances of zero or less"
        raise refused("depth", message, Remedy("Write infinity where nothing is hit, or use --depth-kind inverse"))
    return np.where(values >= BACKGROUND, np.float32(np.inf), values)


def _from_inverse(values: AnyArray, path: Path) -> AnyArray:
    if (values < 0.0).any() or np.isinf(values).any():
        raise refused("depth", f"{path.name} has values that can't be inverse distances: they must be 0 or more")
    with np.errstate(divide="ignore"):
        return np.asarray(np.float32(1.0) / values)


def read_normal(path: Path, space: str = "view", camera: Camera | None = None) -> AnyArray:
    """float32 H x W x 3, unit, view space, zero where nothing is hit. ``camera`` is needed for space "world".

    Pictures hold (n + 1) / 2 with y up (OpenGL's convention). Raises ScumbleError for what can't be normals.
    """
    if path.suffix.lower() == ".exr":
        values = read_exr_normal(path)
    elif path.suffix.lower() == ".npy":
        values = read_npy(path, "normal")
    else:
        values = _normal_picture(path)
    if values.ndim != 3 or values.shape[2] != 3:
        raise refused("normal", f"{path.name} has shape {values.shape}; normals have three values a pixel")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise refused("normal", f"{path.name} has NaN or infinite values")
    if space == "world":
        if camera is None:
            message = "normals in world space can't be turned into view space without the camera"
            raise refused("normal", message, Remedy("Give --camera with the camera's matrices"))
        values = values @ camera.view_matrix[:3, :3].T.astype(np.float32)
    return _unit(values)


def _normal_picture(path: Path) -> AnyArray:
    picture = read_picture(path, "normal")
    if picture.ndim != 3:
        raise refused("normal", f"{path.name} is grey; a normal picture has three channels")
    return picture / np.float32(127.5) - np.float32(1.0)


def _unit(values: AnyArray) -> AnyArray:
    """Anti-aliased edges shorten normals: those over half length are stretched, the rest is background."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    background = (length < 0.5) | (values <= -0.99).all(axis=-1, keepdims=True)  # a black pixel is no direction
    return np.where(background, np.float32(0.0), values / np.where(background, np.float32(1.0), length))


def read_color(path: Path, field: str) -> AnyArray:
    """uint8 H x W x 3 sRGB from a picture. Raises ScumbleError."""
    picture = read_picture(path, field)
    if picture.dtype == np.uint16:
        picture = (picture // 257).astype(np.uint8)
    return np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture


def read_ids(path: Path) -> AnyArray:
    """uint16 H x W, 0 is background. Raises ScumbleError for what can't be ids: fractions, colours, large numbers."""
    if path.suffix.lower() == ".exr":
        values = read_exr_ids(path)
    elif path.suffix.lower() == ".npy":
        values = read_npy(path, "ids")
    else:
        values = read_picture(path, "ids")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2:
        message = f"{path.name} has {values.shape[2]} values a pixel; ids have one"
        raise refused("ids", message, Remedy("Save a grey picture of 16 bits, or a mask for each --region"))
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values == np.rint(values)) & (values >= 0) & (values <= np.iinfo(np.uint16).max)
    if not whole.all():
        raise refused("ids", f"{path.name} has values that aren't whole numbers from 0 to {np.iinfo(np.uint16).max}")
    return values.astype(np.uint16)


def read_mask(path: Path, field: str = "mask") -> AnyArray:
    """uint8 H x W, 255 is repainted, from a grey picture or the brightness of a coloured one. Raises ScumbleError."""
    color = read_color(path, field).astype(np.float32)
    return np.asarray((color @ np.array([0.299, 0.587, 0.114], np.float32)).round().astype(np.uint8))
