"""What each control of a job shows its ControlNet: a ready picture, what a photo tells, or what the scene does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scumble_shared.detectors import AUTO_DETECTOR, BUILT_IN_DETECTED, BUILT_IN_DETECTOR, PICTURE_KINDS
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import Control
from scumble_shared.tensor import AnyArray, Digest
from scumble_shared.validate_controls import no_detector

from .cache import Cache
from .conditioning import ViewBuffers, control_image
from .conditioning.detect import detected
from .pixels import eight_bits, image_array

__all__ = ["ControlPictures", "Detect", "Detected", "Shown", "control_pictures", "unseen_pose"]


KEPT, KEPT_PIXELS = 8, 2048 * 2048
"""Control images found in pictures, and of what size: live mode asks for the same many times, and soft edges take a
while."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A control image that a model made, uint8, of the size wanted; and the model's name."""

    image: AnyArray
    by: str


Detect = Callable[[Control, int, AnyArray, tuple[int, int]], Detected]
"""(control, its number, uint8 H x W x 3, (width, height) of the control image): has a model look at a picture."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a job's controls can be made of.

    view: the scene's. own: the picture that the job starts from, and what the job calls it. without: kinds that show
    nothing if they have no picture of their own. kept: what was found in pictures, without a model.
    """

    tensors: Mapping[Digest, AnyArray]
    detect: Detect
    view: ViewBuffers | None = None
    own: Digest | None = None
    own_field: str = "job.init_image"
    without: tuple[str, ...] = ()
    kept: Cache[tuple[object, ...], AnyArray] = field(default_factory=lambda: Cache(KEPT))


@dataclass(frozen=True, slots=True)
class ControlPictures:
    """images: one for each control, uint8 height x width x 3. detectors: who made them, "" for those that are ready or
    the scene's."""

    images: list[AnyArray | None]
    detectors: list[str]

    @property
    def shown(self) -> list[AnyArray]:
        """Those that there are."""
        return [image for image in self.images if image is not None]

    @property
    def facts(self) -> dict[str, object]:
        """For the provenance."""
        return {"detectors": self.detectors} if any(self.detectors) else {}


def control_pictures(controls: Sequence[Control], shown: Shown, width: int, height: int) -> ControlPictures:
    """Raises ScumbleError INVALID_FIELD for pictures and views that don't fit, SCENE for poses that aren't in the
    picture, and as ``shown.detect`` does."""
    images: list[AnyArray | None] = []
    detectors = []
    for number, control in enumerate(controls):
        made = _detected(control, number, shown, width, height) if control.detector else None
        detectors.append(made.by if made else "")
        images.append(made.image if made else _picture(control, number, shown, width, height))
    return ControlPictures(images, detectors)


def _picture(control: Control, number: int, shown: Shown, width: int, height: int) -> AnyArray | None:
    path = f"job.controls[{number}].image"
    if control.image is not None:
        return image_array(shown.tensors[control.image], width, height, path)
    if control.kind in shown.without:
        return None
    if control.kind in PICTURE_KINDS and shown.own is not None:
        return detected(control.kind, _sized(eight_bits(shown.tensors[shown.own]), (width, height), shown.own_field))
    if shown.view is None:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            "this control has no image, and the job has no view to derive it from",
            field=path,
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


def _detected(control: Control, number: int, shown: Shown, width: int, height: int) -> Detected:
    built_in = control.detector == BUILT_IN_DETECTOR or (
        control.detector == AUTO_DETECTOR and control.kind in BUILT_IN_DETECTED
    )
    if not built_in:
        return shown.detect(control, number, _looked_at(control, number, shown), (width, height))
    if control.kind not in BUILT_IN_DETECTED:
        raise no_detector(control.kind, f"job.controls[{number}]")

    def find() -> AnyArray:  # lines at the size they are drawn in, so that they stay thin
        return detected(control.kind, _looked_at(control, number, shown, (width, height)))

    name = control.image or shown.own
    if name is None or width * height > KEPT_PIXELS:
        return Detected(find(), BUILT_IN_DETECTOR)
    image = shown.kept.get((name, control.kind, width, height), find)
    return Detected(image, BUILT_IN_DETECTOR)


def _looked_at(control: Control, number: int, shown: Shown, size: tuple[int, int] | None = None) -> AnyArray:
    """The picture that a detector looks at; of its own size where none is given."""
    path = f"job.controls[{number}].image"
    if control.image is not None:
        return _sized(shown.tensors[control.image], size, path)
    if shown.own is not None:
        return _sized(eight_bits(shown.tensors[shown.own]), size, shown.own_field)
    if shown.view is not None and shown.view.color is not None:
        return _sized(shown.view.color, size, "job.view.color")
    raise ScumbleError(ErrorCode.INVALID_FIELD, "a detector needs a picture to look at", field=path)


def _sized(picture: AnyArray, size: tuple[int, int] | None, path: str) -> AnyArray:
    if size is None:
        size = (picture.shape[1], picture.shape[0]) if picture.ndim == 3 else (1, 1)
    return image_array(picture, *size, path)
