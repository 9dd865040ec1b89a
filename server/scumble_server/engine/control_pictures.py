"""What each control of a job shows its ControlNet: a ready picture, what a photo tells, or what the scene does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scumble_shared.detectors import AUTO_DETECTOR, BUILT_IN_DETECTED, BUILT_IN_DETECTOR, PICTURE_KINDS
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import Control
from scumble_shared.tensor import AnyArray, Digest

from .conditioning import ViewBuffers, control_image
from .conditioning.detect import detected
from .pixels import eight_bits, image_array

__all__ = ["Detect", "Shown", "control_pictures"]

Detect = Callable[[Control, int, AnyArray], AnyArray]
"""(control, its number, uint8 h x w x 3) -> its control image, uint8 of any size: by a model."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a job's controls can be made of.

    view: the scene's. own: the picture that the job starts from, field: what the job calls it. detect: has a model look
    at a picture.
    """

    tensors: Mapping[Digest, AnyArray]
    detect: Detect
    view: ViewBuffers | None = None
    own: Digest | None = None
    field: str = "job.init_image"


def control_pictures(controls: Sequence[Control], shown: Shown, width: int, height: int) -> list[AnyArray]:
    """One for each control, uint8 height x width x 3.

    Raises ScumbleError INVALID_FIELD for pictures and views that don't fit, SCENE for poses that aren't in the picture,
    and as ``shown.detect`` does.
    """
    return [_picture(control, number, shown, width, height) for number, control in enumerate(controls)]


def _picture(control: Control, number: int, shown: Shown, width: int, height: int) -> AnyArray:
    field = f"job.controls[{number}].image"
    if control.detector:
        return _detected(control, number, shown, width, height)
    if control.image is not None:
        return image_array(shown.tensors[control.image], width, height, field)
    if control.kind in PICTURE_KINDS and shown.own is not None:
        return detected(control.kind, _own(shown, shown.own, width, height))
    if shown.view is None:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            "this control has no image, and the job has no view to derive it from",
            field=field,
        )
    picture = control_image(control, shown.view, width, height)
    if control.kind == "openpose" and not picture.any():
        raise unseen_pose(number)
    return picture


def unseen_pose(number: int) -> ScumbleError:
    """The error for people that no camera sees. number: of the control."""
    return ScumbleError(
        ErrorCode.SCENE,
        "no armature's pose is in the picture",
        field=f"job.controls[{number}]",
        remedy=Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(number)),
    )


def _detected(control: Control, number: int, shown: Shown, width: int, height: int) -> AnyArray:
    built_in = control.detector == BUILT_IN_DETECTOR or (
        control.detector == AUTO_DETECTOR and control.kind in BUILT_IN_DETECTED
    )
    if built_in:  # lines are found at the size they are drawn in, so that they stay thin
        return detected(control.kind, _looked_at(control, number, shown, width, height))
    found = shown.detect(control, number, _looked_at(control, number, shown, None, None))
    return image_array(found, width, height, f"job.controls[{number}].image")


def _looked_at(control: Control, number: int, shown: Shown, width: int | None, height: int | None) -> AnyArray:
    """The picture that a detector looks at; of its own size where none is given."""
    field = f"job.controls[{number}].image"
    if control.image is not None:
        return _sized(shown.tensors[control.image], width, height, field)
    if shown.own is not None:
        return _own(shown, shown.own, width, height)
    if shown.view is not None and shown.view.color is not None:
        return _sized(shown.view.color, width, height, "job.view.color")
    raise ScumbleError(ErrorCode.INVALID_FIELD, "a detector needs a picture to look at", field=field)


def _own(shown: Shown, own: Digest, width: int | None, height: int | None) -> AnyArray:
    return _sized(eight_bits(shown.tensors[own]), width, height, shown.field)


def _sized(picture: AnyArray, width: int | None, height: int | None, field: str) -> AnyArray:
    if picture.ndim == 3 and width is None:
        width, height = picture.shape[1], picture.shape[0]
    return image_array(picture, width or 1, height or 1, field)
