"""Geometry truth -> the pictures ControlNets were trained on. Pure functions, one module per kind of control.

Each kind is one function on batched tensors, which runs on any device and is what training uses too; all return
float32 B x 3 x H x W in [0, 1], top row first (:func:`to_bytes` makes them the uint8 pictures that are shown and sent):

    depth.depth_image(depth BxHxW, near=None, far=None, virtual_distance=None)
    normal.normal_image(normal BxHxWx3)
    lines.canny_image(depth, normal, object_id)      # any of the three may be None
    lines.lineart_image(depth, normal, object_id)
    lines.softedge_image(depth, normal, object_id)
    lines.scribble_image(depth, normal, object_id)
    segmentation.segmentation_image(object_id BxHxW)
    picture.tile_image(picture Bx3xHxW)              # of a view's colours or of any picture
    picture.color_image(picture Bx3xHxW)

Poses are drawn on NumPy arrays: openpose.draw_poses(openpose.seen_poses(poses, camera, size), W, H).

:func:`control_image` is the same for one view of a job, as NumPy arrays, checked and resized.
"""

from __future__ import annotations

from .buffers import ViewBuffers, view_buffers
from .control import control_image
from .depth import depth_image
from .lines import canny_image, lineart_image, scribble_image, softedge_image
from .normal import normal_image
from .openpose import draw_poses, seen_poses
from .picture import color_image, tile_image
from .pixels import to_bytes
from .segmentation import segmentation_image

__all__ = [
    "ViewBuffers",
    "canny_image",
    "color_image",
    "control_image",
    "depth_image",
    "draw_poses",
    "lineart_image",
    "normal_image",
    "scribble_image",
    "seen_poses",
    "segmentation_image",
    "softedge_image",
    "tile_image",
    "to_bytes",
    "view_buffers",
]
