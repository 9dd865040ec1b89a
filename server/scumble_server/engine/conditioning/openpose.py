"""Poses as ``control_v11p_sd15_openpose`` and its kin know them: OpenPose's coloured limbs on black.

Colours, order and sizes are those of ``controlnet_aux``'s ``draw_bodypose`` and ``draw_handpose``, which draws at a
shorter side of 512 pixels; at other sizes limbs are as much thicker or thinner.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.pose import BODY_POINTS, Point3, Pose
from scumble_shared.tensor import AnyArray

__all__ = ["COLORS", "HAND_LINES", "LIMBS", "SeenPose", "draw_poses", "seen_poses"]

LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)
"""Pairs of ``BODY_POINTS`` with a limb between them, in the order they are drawn; each has the colour of its place."""

COLORS = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
"""Of points; limbs have :data:`LIMB_BRIGHTNESS` of them."""

LIMB_BRIGHTNESS = 0.6
HAND_LINES = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
HAND_COLOR = (0, 0, 255)

SIDE = 512
"""Shorter side of the picture that these are of, in pixels: half the width of a limb and a point; a hand's lines."""
LIMB, POINT, HAND_LINE = 4.0, 4.0, 1.0
HAND_EXTENT = 40.0
"""Pixels from which a hand is told apart; a smaller one would be a blot of its points."""

LEAST = 0.75
"""Half a width in pixels that covers the centre of one at least, wherever it lies."""

NOSE, NECK, RIGHT_HIP, LEFT_HIP = (BODY_POINTS.index(name) for name in ("nose", "neck", "right_hip", "left_hip"))
EYES = {BODY_POINTS.index("right_eye"): -1.0, BODY_POINTS.index("left_eye"): 1.0}
EARS = {BODY_POINTS.index("right_ear"): -1.0, BODY_POINTS.index("left_ear"): 1.0}
"""Point -> on which side of the head: 1 is the person's left."""

NOSE_SHOWS, EYE_TURN, EAR_SHOWS = -0.2, 0.5, -0.35
"""Cosines of angles to the viewer beyond which the head hides its nose and an ear; how far aside an eye looks."""

BODY_DEPTH = 0.6
"""How deep a body is, in lengths of its trunk: what is farther behind a surface is hidden by something else."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeenPose:
    """One person in a picture; positions in pixels, right and down, NaN for what isn't seen.

    body: float64 18 x 2. hands: float64 21 x 2, of each hand there is. depth: of the person, the farthest are drawn
    first.
    """

    body: FloatArray
    hands: tuple[FloatArray, ...] = ()
    depth: float = 0.0

    @property
    def is_seen(self) -> bool:
        return bool(np.isfinite(self.body).any())


def seen_poses(
    poses: Sequence[Pose], camera: Camera, size: tuple[int, int], depth: AnyArray | None = None
) -> list[SeenPose]:
    """The people a camera sees, in pixels of a picture of ``size`` (width, height).

    As detectors do, points outside of the picture are left out, and those of a face that the head turns away. depth:
    float H x W of the camera's size; what lies farther behind it than a body is deep is hidden by something else.
    """
    seen = [_seen(pose, camera, size, depth) for pose in poses]
    return [pose for pose in seen if pose.is_seen]


def draw_poses(poses: Sequence[SeenPose], width: int, height: int) -> AnyArray:
    """uint8 height x width x 3, top row first; black where nobody is."""
    canvas = np.zeros((height, width, 3), np.uint8)
    scale = min(width, height) / SIDE
    for pose in sorted(poses, key=lambda pose: -pose.depth):
        for (first, second), color in zip(LIMBS, COLORS, strict=False):
            dimmed = tuple(int(value * LIMB_BRIGHTNESS) for value in color)
            _ellipse(canvas, pose.body[first], pose.body[second], LIMB * scale, dimmed)
        for point, color in zip(pose.body, COLORS, strict=True):
            _disc(canvas, point, POINT * scale, color)
        for hand in pose.hands:
            if not _extent(hand) >= HAND_EXTENT * scale:  # NaN, too
                continue
            for number, (first, second) in enumerate(HAND_LINES):
                hue = colorsys.hsv_to_rgb(number / len(HAND_LINES), 1.0, 1.0)
                _line(canvas, hand[first], hand[second], HAND_LINE * scale, tuple(int(255 * part) for part in hue))
            for point in hand:
                _disc(canvas, point, POINT * scale, HAND_COLOR)
    return canvas


# --- what is seen -----------------------------------------------------------------------------------


def _seen(pose: Pose, camera: Camera, size: tuple[int, int], depth: AnyArray | None) -> SeenPose:
    body = _array(pose.body)
    tolerance = BODY_DEPTH * _trunk(body)
    pixels, depths = _projected(body, camera, size, depth, tolerance)
    pixels[_turned_away(body, camera)] = np.nan
    hands = [
        _projected(_array(hand), camera, size, depth, tolerance)[0]
        for hand in (pose.left_hand, pose.right_hand)
        if hand
    ]
    shown = depths[np.isfinite(pixels).all(axis=1)]
    return SeenPose(pixels, tuple(hands), float(shown.mean()) if len(shown) else 0.0)


def _extent(points: FloatArray) -> float:
    """The longer side of what is seen."""
    known = points[np.isfinite(points).all(axis=1)]
    return float(np.ptp(known, axis=0).max()) if len(known) else 0.0


def _array(points: Sequence[Point3 | None]) -> FloatArray:
    """N x 3, NaN for None."""
    return np.array([(np.nan,) * 3 if point is None else point for point in points], np.float64).reshape(-1, 3)


def _trunk(body: FloatArray) -> float:
    """How long the trunk is; of somebody without one a third of the whole."""
    length = float(np.linalg.norm(body[[RIGHT_HIP, LEFT_HIP]].mean(axis=0) - body[NECK]))
    if np.isfinite(length) and length > 0.0:
        return length
    known = body[np.isfinite(body).all(axis=1)]
    return float(np.linalg.norm(np.ptp(known, axis=0))) / 3.0 if len(known) else 0.0


def _projected(
    points: FloatArray, camera: Camera, size: tuple[int, int], depth: AnyArray | None, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Positions in a picture of ``size``, NaN for what isn't seen, and depths."""
    pixels, depths = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0.0) & (pixels < (camera.width, camera.height))).all(axis=1) & (depths > camera.near)
    if depth is not None:
        column, row = np.where(inside[:, None], pixels, 0.0).astype(np.int64).T
        with np.errstate(invalid="ignore"):
            inside &= depths <= np.asarray(depth[row, column], np.float64) + tolerance
    pixels = pixels * (size[0] / camera.width, size[1] / camera.height)
    pixels[~inside] = np.nan
    return pixels, depths


def _turned_away(body: FloatArray, camera: Camera) -> list[int]:
    """Points of a face that its own head hides; none where nose and ears don't tell how it is turned."""
    right, left = body[list(EARS)]
    middle = (right + left) / 2.0
    facing, aside = _unit(body[NOSE] - middle), _unit(left - right)
    viewer = _unit(-camera.forward if camera.is_orthographic else camera.position - middle)
    if not np.isfinite(facing + aside + viewer).all():
        return []
    hidden = [NOSE] if facing @ viewer < NOSE_SHOWS else []
    hidden += [eye for eye, side in EYES.items() if _unit(facing + EYE_TURN * side * aside) @ viewer < 0.0]
    hidden += [ear for ear, side in EARS.items() if side * aside @ viewer < EAR_SHOWS]
    return hidden


def _unit(vector: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(vector / np.linalg.norm(vector))


# --- drawing ----------------------------------------------------------------------------------------


def _ellipse(
    canvas: AnyArray, first: FloatArray, second: FloatArray, half_width: float, color: tuple[int, ...]
) -> None:
    """A limb: an ellipse with its ends at two points."""
    half_length = float(np.hypot(*(second - first))) / 2.0
    if not half_length > 0.0:  # NaN, too
        return
    half_width = max(half_width, LEAST)
    along = (second - first) / (2.0 * half_length)
    for area, apart in _around(canvas, (first + second) / 2.0, max(half_length, half_width)):
        lengthwise, crosswise = apart @ along, apart @ (along[::-1] * (-1.0, 1.0))
        area[(lengthwise / half_length) ** 2 + (crosswise / half_width) ** 2 <= 1.0] = color


def _line(canvas: AnyArray, first: FloatArray, second: FloatArray, half_width: float, color: tuple[int, ...]) -> None:
    half_length = float(np.hypot(*(second - first))) / 2.0
    if not half_length > 0.0:
        return
    along = (second - first) / (2.0 * half_length)
    for area, apart in _around(canvas, (first + second) / 2.0, half_length + max(half_width, LEAST)):
        beyond = np.maximum(np.abs(apart @ along) - half_length, 0.0)
        crosswise = apart @ (along[::-1] * (-1.0, 1.0))
        area[beyond**2 + crosswise**2 <= max(half_width, LEAST) ** 2] = color


def _disc(canvas: AnyArray, point: FloatArray, radius: float, color: tuple[int, ...]) -> None:
    if not np.isfinite(point).all():
        return
    for area, apart in _around(canvas, point, max(radius, LEAST)):
        area[(apart**2).sum(axis=-1) <= max(radius, LEAST) ** 2] = color


def _around(canvas: AnyArray, middle: FloatArray, reach: float) -> Iterator[tuple[AnyArray, FloatArray]]:
    """The part of the canvas within ``reach`` pixels, and how far its pixels' centres are from ``middle``; none if it
    lies outside."""
    height, width = canvas.shape[:2]
    left, top = (max(int(np.floor(value - reach)), 0) for value in middle)
    right, bottom = (min(int(np.ceil(v + reach)) + 1, end) for v, end in zip(middle, (width, height), strict=True))
    if left >= right or top >= bottom:
        return
    y, x = np.meshgrid(np.arange(top, bottom) + 0.5, np.arange(left, right) + 0.5, indexing="ij")
    yield canvas[top:bottom, left:right], np.stack([x, y], axis=-1) - middle
