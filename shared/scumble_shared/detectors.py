"""Who makes a control image of a photo or painting, for ``Control.detector``."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "AUTO_DETECTOR",
    "BUILT_IN_DETECTED",
    "BUILT_IN_DETECTOR",
    "DETECTED",
    "PICTURE_KINDS",
    "SUGGESTED_DETECTORS",
]

AUTO_DETECTOR = "auto"
"""The built-in one where it knows the kind, else the first of the server's models that does."""

BUILT_IN_DETECTOR = "built-in"
"""Id of what needs no model."""

BUILT_IN_DETECTED = ("canny", "lineart", "softedge", "scribble", "tile", "color")
"""Kinds of control that the built-in detector makes of a picture."""

SUGGESTED_DETECTORS: Mapping[str, str] = {
    "depth": "depth-anything/Depth-Anything-V2-Small-hf",
    "normal": "prs-eth/marigold-normals-v1-1",
    "segmentation": "openmmlab/upernet-convnext-tiny",
    "openpose": "usyd-community/vitpose-base-simple",
}
"""Kind of control -> a repository whose model makes it of a picture: for those that nothing built in can."""

DETECTED = (*BUILT_IN_DETECTED, *SUGGESTED_DETECTORS)
"""All kinds of control that can be made of a picture."""

PICTURE_KINDS = ("tile", "color")
"""Kinds that are made of colours alone: of the job's own picture, or the view's, where no other is given."""
