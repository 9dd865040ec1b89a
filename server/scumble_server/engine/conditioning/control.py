"""One view's buffers to one control image: what a job's :class:`~scumble_shared.job.Control` asks for."""

from __future__ import annotations

import math

import numpy as np
import torch
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import CONTROL_KINDS, Control
from scumble_shared.tensor import AnyArray

from .buffers import ViewBuffers
from .depth import depth_image
from .lines import canny_image, lineart_image, scribble_image, softedge_image
from .normal import normal_image
from .openpose import draw_poses, seen_poses
from .picture import color_image, tile_image
from .pixels import to_bytes
from .segmentation import segmentation_image

__all__ = ["VIRTUAL_FIELD_OF_VIEW", "control_image", "virtual_distance"]

VIRTUAL_FIELD_OF_VIEW = math.radians(40.0)
"""Vertical angle under which a virtual eye sees an orthographic view's window: about Blender's 50 mm viewport lens."""


LINES = {
    "canny": canny_image,
    "lineart": lineart_image,
    "softedge": softedge_image,
    "scribble": scribble_image,
}
"""Kinds that can be drawn from any of depth, normals and ids."""

COLOURS = {"tile": tile_image, "color": color_image}
"""Kinds that are made of colours alone."""


def control_image(control: Control, buffers: ViewBuffers, width: int, height: int) -> AnyArray:
    """The picture ``control`` shows its ControlNet, derived from the view: uint8 height x width x 3, top row first.

    A view of another shape than the job is stretched to it. Depth and normals are turned into colours first and then
    smoothed or averaged, so that inf never meets arithmetic; ids take the nearest pixel; lines are found at the final
    size. Poses that the camera doesn't see leave the picture black. Raises ScumbleError INVALID_FIELD if the view lacks
    the buffer this kind needs.
    """
    size = (width, height)
    if control.kind == "openpose":
        return draw_poses(seen_poses(buffers.poses, buffers.camera, size, buffers.depth), *size)
    orthographic = buffers.camera.is_orthographic
    if control.kind == "depth":
        depth = _tensor(_needed(buffers.depth, "depth", control.kind))
        distance = virtual_distance(buffers.camera) if orthographic else None
        image = depth_image(depth, control.near, control.far, distance, size)
    elif control.kind == "normal":
        image = normal_image(_tensor(_needed(buffers.normal, "normal", control.kind)), size)
    elif control.kind == "segmentation":
        ids = _tensor(_needed(buffers.object_id, "object_id", control.kind))
        image = segmentation_image(ids, size, buffers.labels)
    elif draw_colours := COLOURS.get(control.kind):
        color = _tensor(_needed(buffers.color, "color", control.kind))
        image = draw_colours(color[..., :3].permute(0, 3, 1, 2) / 255.0, size)
    elif draw := LINES.get(control.kind):
        arrays = (buffers.depth, buffers.normal, buffers.object_id)
        if all(array is None for array in arrays):
            _needed(None, "depth", control.kind)
        tensors = [None if array is None else _tensor(array) for array in arrays]
        image = draw(tensors[0], tensors[1], tensors[2], size, orthographic=orthographic)
    else:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"no control image of kind {control.kind!r} can be made from a view; "
            f"give the image, or use one of {', '.join(CONTROL_KINDS)}",
        )
    return to_bytes(image)[0].numpy()


def virtual_distance(camera: Camera) -> float:
    """How far before an orthographic window a virtual eye sees it at :data:`VIRTUAL_FIELD_OF_VIEW`, scene units."""
    window_height = 2.0 / camera.projection_matrix[1, 1]
    return float(window_height / 2.0 / math.tan(VIRTUAL_FIELD_OF_VIEW / 2.0))


def _needed(array: AnyArray | None, name: str, kind: str) -> AnyArray:
    if array is None:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"a {kind} control needs the view's {name} buffer", field=f"job.view.{name}"
        )
    return array


def _tensor(array: AnyArray) -> torch.Tensor:
    """Batch of one. uint16 becomes int32: torch can't do arithmetic on it."""
    if array.dtype == np.uint16:
        array = array.astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(array))[None]
