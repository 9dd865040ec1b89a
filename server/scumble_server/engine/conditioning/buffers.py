"""A job's view with its buffers looked up and checked: the door through which geometry enters the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scumble_shared.camera import Camera, normals_of
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Label, Pose, View
from scumble_shared.tensor import AnyArray, Digest

__all__ = ["ViewBuffers", "view_buffers"]


@dataclass(frozen=True, slots=True)
class ViewBuffers:
    """The arrays of a :class:`scumble_shared.job.View`, in the conventions given there."""

    camera: Camera
    depth: AnyArray | None = None
    normal: AnyArray | None = None
    object_id: AnyArray | None = None
    color: AnyArray | None = None
    poses: tuple[Pose, ...] = ()
    labels: tuple[Label, ...] = ()


def view_buffers(view: View, tensors: Mapping[Digest, AnyArray]) -> ViewBuffers:
    """Look up and check the buffers of ``view``; normals become floats.

    Raises ScumbleError INVALID_FIELD for shapes, dtypes and values that can't be: depth that is NaN, zero or negative,
    normals that aren't finite.
    """
    height, width = view.camera.height, view.camera.width
    normal = _look_up(tensors, view.normal, "normal", (height, width, 3), ("float32", "float16", "uint8"))
    buffers = ViewBuffers(
        camera=view.camera,
        depth=_look_up(tensors, view.depth, "depth", (height, width), ("float32", "float16")),
        normal=None if normal is None else normals_of(normal),
        object_id=_look_up(tensors, view.object_id, "object_id", (height, width), ("uint16",)),
        color=_look_up(tensors, view.color, "color", (height, width, 4), ("uint8",)),
        poses=view.poses,
        labels=view.labels,
    )
    if buffers.depth is not None and not np.all(buffers.depth > 0):  # NaN compares false
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            "depth must be greater than zero, and inf where nothing is hit; this buffer has NaN, zero or less",
            field="job.view.depth",
        )
    if buffers.normal is not None and not np.all(np.isfinite(buffers.normal)):
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, "normals must be finite; this buffer has NaN or inf", field="job.view.normal"
        )
    return buffers


def _look_up(
    tensors: Mapping[Digest, AnyArray],
    digest: Digest | None,
    name: str,
    shape: tuple[int, ...],
    dtypes: tuple[str, ...],
) -> AnyArray | None:
    if digest is None:
        return None
    array = tensors[digest]
    if array.shape != shape or array.dtype.name not in dtypes:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected {' or '.join(dtypes)} of shape {shape} as the view's camera says, "
            f"got {array.dtype.name} of shape {array.shape}",
            field=f"job.view.{name}",
        )
    return array
