"""The scene's controls as a job has them: of the scene, of a photo or painting, or of a control image that is ready."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import bpy
from scumble_shared.detectors import AUTO_DETECTOR, DETECTED, PICTURE_KINDS
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import Control
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from .connection.addressing import stand_in
from .references.pixels import picture_pixels

__all__ = ["CONTROL_SOURCES", "controls_key", "controls_of", "detectors_hint", "needs_color", "needs_poses"]

SCENE, PHOTO, READY = "SCENE", "PHOTO", "READY"

CONTROL_SOURCES = (
    (SCENE, "Scene", "Made from what is to be seen", "SCENE_DATA", 0),
    (PHOTO, "Photo or Painting", "Found in an image, which has nothing to do with the scene", "IMAGE_DATA", 1),
    (READY, "Control Image", "An image that is a control image already", "IMAGE_PLANE", 2),
)


def controls_of(
    settings: bpy.types.PropertyGroup,
    offered: Iterable[str],
    tensors: dict[Digest, AnyArray],
    *,
    fresh: bool = True,
) -> tuple[Control, ...]:
    """Those that act; their images go to ``tensors``. offered: kinds the model can follow. fresh: read images anew even
    if they seem to be the same.

    Raises ScumbleError SCENE or TOO_LARGE for images that can't be read.
    """
    if not settings.controls and settings.use_default_controls:
        return tuple(Control(kind) for kind in ("depth", "normal") if kind in offered)
    acting = [control for control in settings.controls if control.enabled]
    return tuple(_control(control, number, tensors, fresh) for number, control in enumerate(acting))


def controls_key(settings: bpy.types.PropertyGroup) -> tuple[object, ...]:
    """Equal as long as the same is asked for."""
    if not settings.controls:
        return (settings.use_default_controls,)
    return tuple(
        (
            _plain(control),
            control.source,
            control.detector,
            None if control.image is None else _image_key(control.image),
        )
        for control in settings.controls
        if control.enabled
    )


def needs_color(controls: Iterable[Control]) -> bool:
    """Whether the view's colours are among what the controls are made of."""
    return any(control.kind in PICTURE_KINDS and control.image is None for control in controls)


def needs_poses(controls: Iterable[Control]) -> bool:
    """Whether the poses of armatures are."""
    return any(control.kind == "openpose" and control.image is None for control in controls)


def detectors_hint(capabilities: Capabilities, settings: bpy.types.PropertyGroup) -> str:
    """Which controls of photos nothing on the server can make; "" if none, or while nobody knows."""
    if not capabilities.detectors:
        return ""
    able = {kind for info in capabilities.detectors for kind in info.kinds}
    wanted = {control.kind for control in settings.controls if control.enabled and control.source == PHOTO}
    missing = sorted(wanted - able)
    if not missing:
        return ""
    if not set(missing) <= set(DETECTED):
        return f"Can't be found in a photo: {', '.join(missing)}"
    return f"The server has no model that finds in photos: {', '.join(missing)}"


def _plain(control: bpy.types.PropertyGroup) -> Control:
    """Without its image."""
    return Control(
        kind=control.kind,
        model=control.model,
        strength=control.strength,
        start=control.start,
        end=control.end,
        near=control.near if control.use_range else None,
        far=control.far if control.use_range else None,
    )


def _control(control: bpy.types.PropertyGroup, number: int, tensors: dict[Digest, AnyArray], fresh: bool) -> Control:
    plain = _plain(control)
    if control.source == SCENE:
        return plain
    if control.image is None:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"the {control.kind} control has no image; choose one, or make it from the scene",
            field=f"job.controls[{number}].image",
            remedy=Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(number)),
        )
    try:
        pixels = picture_pixels(control.image, fresh)
    except ScumbleError as error:
        raise ScumbleError.from_info(replace(error.info, field=f"job.controls[{number}].image")) from error
    name = stand_in(pixels)
    tensors[name] = pixels
    return replace(plain, image=name, detector=(control.detector or AUTO_DETECTOR) if control.source == PHOTO else "")


def _image_key(image: bpy.types.Image) -> tuple[object, ...]:
    return (image.session_uid, image.filepath, *image.size)
