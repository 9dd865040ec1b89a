"""Where the joints of people are: OpenPose's key points, in world space, so that any camera can look at them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import ErrorCode, ScumbleError
from .limits import Limits

__all__ = ["BODY_POINTS", "HAND_POINTS", "Point3", "Pose", "check_poses"]

BODY_POINTS = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
"""Of a body, in the order OpenPose counts them (its COCO model). Right and left are the person's own."""

HAND_POINTS = 21
"""Of a hand: the wrist, then four of each finger from the palm to the tip, beginning with the thumb."""

Point3 = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pose:
    """One person, in world space.

    body: one for each of ``BODY_POINTS``; None where nothing tells. The neck is midway between the shoulders.
    left_hand, right_hand: :data:`HAND_POINTS` each, or none at all.
    """

    body: tuple[Point3 | None, ...]
    left_hand: tuple[Point3 | None, ...] = ()
    right_hand: tuple[Point3 | None, ...] = ()


def check_poses(poses: Sequence[Pose], path: str, limits: Limits) -> None:
    """Raises ScumbleError for poses with another number of points, or points that aren't finite."""
    if len(poses) > limits.poses:
        message = f"{len(poses)} poses; at most {limits.poses} are accepted"
        raise ScumbleError(ErrorCode.TOO_LARGE, message, field=path)
    for index, pose in enumerate(poses):
        parts = (("body", pose.body), ("left_hand", pose.left_hand), ("right_hand", pose.right_hand))
        for name, points in parts:
            expected = (len(BODY_POINTS),) if name == "body" else (0, HAND_POINTS)
            if len(points) not in expected:
                message = f"{len(points)} points; {' or '.join(map(str, expected))} are expected"
                raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=f"{path}[{index}].{name}")
            if not all(math.isfinite(value) for point in points if point is not None for value in point):
                message = "points must be finite"
                raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=f"{path}[{index}].{name}")
