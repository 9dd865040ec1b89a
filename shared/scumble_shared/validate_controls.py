"""Whether there is what a control is to be made of: a picture of its own, a photo and who looks at it, or the view."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import invalid, quoted
from .detectors import (
    AUTO_DETECTOR,
    BUILT_IN_DETECTED,
    BUILT_IN_DETECTOR,
    DETECTED,
    PICTURE_KINDS,
    SUGGESTED_DETECTORS,
)
from .errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from .job import CONTROL_KINDS, Control, View
from .messages import Capabilities

__all__ = ["ControlSources", "check_control_source", "no_detector", "no_poses", "remove_control"]

BUFFERS_NEEDED = {
    "depth": ("depth",),
    "normal": ("normal",),
    "segmentation": ("object_id",),
    "canny": ("depth", "normal", "object_id"),
    "lineart": ("depth", "normal", "object_id"),
    "softedge": ("depth", "normal", "object_id"),
    "scribble": ("depth", "normal", "object_id"),
    "tile": ("color",),
    "color": ("color",),
}
"""Control kind -> the view's buffers it can be made from; one of them is enough."""


@dataclass(frozen=True, slots=True)
class ControlSources:
    """What a job has for its controls. picture: one of its own to start from. given: kinds that need nothing more."""

    view: View | None = None
    picture: bool = False
    given: tuple[str, ...] = ()


def check_control_source(
    control: Control, sources: ControlSources, known: Capabilities | None, path: str, index: int
) -> None:
    """Raises ScumbleError for an unknown kind, for a control that nothing tells the picture of, and for a detector that
    isn't there or doesn't know the kind."""
    kinds = {*CONTROL_KINDS, *sources.given}
    if control.image is not None and known is not None:
        kinds.update(kind for controlnet in known.controlnets for kind in controlnet.kinds)
    if control.kind not in kinds:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"{quoted(control.kind)} isn't a kind of control; there are {', '.join(sorted(kinds))}",
            field=f"{path}.kind",
            remedy=remove_control(index),
        )
    view = sources.view
    has_picture = sources.picture or (view is not None and view.color is not None)
    if control.detector:
        if control.image is None and not has_picture:
            raise invalid(f"{path}.image", "a detector needs a picture to look at")
        _check_detector(control, known, path, index)
        return
    if control.image is not None or control.kind in sources.given:
        return
    if control.kind in PICTURE_KINDS and has_picture:
        return
    if view is None:
        raise invalid(f"{path}.image", "a control needs a picture of its own, or the job a view to make it from")
    if control.kind == "openpose":
        if not view.poses:
            raise no_poses("job.view.poses", index)
        return
    needed = BUFFERS_NEEDED[control.kind]
    if all(getattr(view, name) is None for name in needed):
        raise invalid(f"job.view.{needed[0]}", f"a {control.kind} control needs {' or '.join(needed)} in the view")


def no_poses(field: str, index: int) -> ScumbleError:
    """The error for a pose that nobody strikes. index: of the control."""
    return ScumbleError(
        ErrorCode.SCENE,
        "there is no posed armature to read a pose from",
        field=field,
        remedy=Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(index)),
    )


def no_detector(kind: str, path: str) -> ScumbleError:
    """The error for a kind of control that nothing on the server can make of a picture."""
    repository = SUGGESTED_DETECTORS.get(kind, "")
    if not repository:
        return invalid(f"{path}.kind", f"no {quoted(kind)} control can be made of a picture; give it as it is")
    return ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"making a {kind} control of a picture takes a model that isn't there, such as {repository}",
        field=f"{path}.detector",
        remedy=Remedy(f"Get it: scumble download get {repository}"),
    )


def remove_control(index: int) -> Remedy:
    return Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(index))


def _check_detector(control: Control, known: Capabilities | None, path: str, index: int) -> None:
    kind, wanted = control.kind, control.detector
    if wanted == BUILT_IN_DETECTOR and kind not in BUILT_IN_DETECTED:
        raise no_detector(kind, path)
    if kind not in DETECTED:
        raise no_detector(kind, path)
    if known is None or wanted == BUILT_IN_DETECTOR:
        return
    able = [info.id for info in known.detectors if kind in info.kinds]
    if wanted == AUTO_DETECTOR:
        if kind not in BUILT_IN_DETECTED and not able:
            raise no_detector(kind, path)
        return
    if wanted in able:
        return
    if any(info.id == wanted for info in known.detectors):
        raise ScumbleError(
            ErrorCode.MODEL_MISMATCH,
            f"{quoted(wanted)} doesn't make {kind} controls; {', '.join(able) or 'nothing here'} does",
            field=f"{path}.detector",
            remedy=Remedy("Let it be chosen"),
        )
    for info in known.unusable:
        if info.id == wanted:
            message = f"{info.name} can't be used: {info.reason}"
            raise ScumbleError(
                ErrorCode.MODEL_INVALID, message, field=f"{path}.detector", remedy=Remedy("Let it be chosen")
            )
    raise ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"the server has no detector {quoted(wanted)}; for {kind} it has {', '.join(able) or 'none'}",
        field=f"{path}.detector",
        remedy=Remedy("Let it be chosen"),
    )
