"""Checks that all tasks share: numbers, tensors, cameras and views. Used by :mod:`scumble_shared.validate`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .camera import Camera
from .errors import ErrorCode, Remedy, ScumbleError
from .facts import TensorFacts
from .job import View
from .limits import DEFAULT_LIMITS, Limits
from .pose import check_poses
from .tensor import Digest, is_digest

__all__ = [
    "Facts",
    "check_camera",
    "check_picture_size",
    "check_prompt",
    "check_range",
    "check_tensor",
    "check_view",
    "invalid",
    "quoted",
]

RIGID_TOLERANCE = 1e-3
FLOATS = ("float32", "float16")

Facts = Mapping[Digest, TensorFacts]
"""What is known of the tensors a job refers to."""


def check_view(view: View, limits: Limits, facts: Facts) -> None:
    """Raises ScumbleError for a camera that is none, or buffers that aren't what it says."""
    check_camera(view.camera, limits)
    height, width = view.camera.height, view.camera.width
    depth = check_tensor(view.depth, "job.view.depth", FLOATS, ((height, width),), facts)
    if depth is not None and not depth.positive:
        raise invalid("job.view.depth", "has NaN, zero or less; depth is greater than zero, and inf where nothing is")
    normal = check_tensor(view.normal, "job.view.normal", (*FLOATS, "uint8"), ((height, width, 3),), facts)
    if normal is not None and not normal.finite:
        raise invalid("job.view.normal", "has NaN or inf; a normal is zero where nothing is")
    check_tensor(view.object_id, "job.view.object_id", ("uint16",), ((height, width),), facts)
    check_tensor(view.color, "job.view.color", ("uint8",), ((height, width, 4),), facts)
    check_poses(view.poses, "job.view.poses", limits)


def check_camera(camera: Camera, limits: Limits = DEFAULT_LIMITS, path: str = "job.view.camera") -> None:
    """Raises ScumbleError for matrices that are no camera, or a size no buffer can have."""
    for side, name in ((camera.width, "width"), (camera.height, "height")):
        if side < 1:
            raise invalid(f"{path}.{name}", f"{side} pixels; at least 1 is needed")
        if side > limits.image_side or camera.width * camera.height > limits.image_pixels:
            raise ScumbleError(
                ErrorCode.TOO_LARGE, f"{side} pixels; at most {limits.image_side}", field=f"{path}.{name}"
            )
    for matrix, name in ((camera.view, "view"), (camera.projection, "projection")):
        if len(matrix) != 16 or not all(math.isfinite(value) for value in matrix):
            raise invalid(f"{path}.{name}", "expected 16 finite numbers")
    rotation = camera.view_matrix[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):  # huge numbers are no rotation either
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), rtol=0.0, atol=RIGID_TOLERANCE)
    if not rigid or np.linalg.det(rotation) < 0.0 or camera.view[12:] != (0.0, 0.0, 0.0, 1.0):
        raise invalid(f"{path}.view", "isn't rigid: only rotation and translation, no scale or mirroring")
    if camera.projection[12:] not in ((0.0, 0.0, -1.0, 0.0), (0.0, 0.0, 0.0, 1.0)):
        raise invalid(f"{path}.projection", "is neither perspective nor orthographic in OpenGL's convention")
    if camera.projection[0] <= 0.0 or camera.projection[5] <= 0.0:
        raise invalid(f"{path}.projection", "flattens or mirrors the picture")
    if not (math.isfinite(camera.near) and math.isfinite(camera.far) and camera.near < camera.far):
        raise invalid(f"{path}.far", "must be beyond near")
    if not camera.is_orthographic and camera.near <= 0.0:
        raise invalid(f"{path}.near", "must be greater than zero for a perspective camera")


def check_range(value: float, low: float, high: float, path: str) -> None:
    """Raises ScumbleError unless low <= value <= high; TOO_LARGE over a limit that counts something."""
    if math.isfinite(value) and low <= value <= high:
        return
    code = ErrorCode.TOO_LARGE if value > high and isinstance(high, int) else ErrorCode.INVALID_FIELD
    raise ScumbleError(code, f"{value:g} is outside of {low:g} to {high:g}", field=path)


def check_tensor(
    digest: Digest | None,
    path: str,
    dtypes: tuple[str, ...],
    shapes: tuple[tuple[int | None, ...], ...],
    facts: Facts,
) -> TensorFacts | None:
    """Check a tensor's address, and dtype and shape where they are known.

    Returns what is known of it; None if there is none or nothing is known of it. A None in ``shapes`` is any
    size but 0. Raises ScumbleError INVALID_FIELD.
    """
    if digest is None:
        return None
    if not is_digest(digest):
        raise invalid(path, "expected a content address, 64 lower-case hexadecimal digits, or a one-off name")
    seen = facts.get(digest)
    if seen is None:
        return None
    fits = any(
        len(shape) == len(seen.shape)
        and all(
            side == (wanted if wanted is not None else max(side, 1))
            for side, wanted in zip(seen.shape, shape, strict=True)
        )
        for shape in shapes
    )
    if seen.dtype not in dtypes or not fits:
        wanted = " or ".join(_spoken(shape) for shape in shapes)
        raise invalid(path, f"expected {' or '.join(dtypes)} of {wanted}, got {seen.dtype} of {_spoken(seen.shape)}")
    return seen


def check_picture_size(facts: TensorFacts | None, path: str, limits: Limits) -> None:
    """Raises ScumbleError TOO_LARGE for a picture (H x W x anything) over the limits."""
    if facts is None:
        return
    height, width = facts.shape[:2]
    if max(height, width) > limits.image_side or height * width > limits.image_pixels:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{width} x {height} pixels; at most {limits.image_side} a side are accepted",
            field=path,
            remedy=Remedy("Use a smaller picture"),
        )


def check_prompt(text: str, path: str, limits: Limits) -> None:
    """Raises ScumbleError TOO_LARGE for a text over the limits."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limits.prompt_bytes:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"the text is {size} bytes long, at most {limits.prompt_bytes} are accepted",
            field=path,
            remedy=Remedy("Shorten the prompt"),
        )


def _spoken(shape: tuple[int | None, ...]) -> str:
    return " x ".join("N" if side is None else str(side) for side in shape) or "one number"


def quoted(name: str) -> str:
    """A client's text as it may stand in a message: short and harmless."""
    return ascii(name[:80])


def invalid(path: str, message: str) -> ScumbleError:
    """The error for a value that can't be."""
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field=path)
