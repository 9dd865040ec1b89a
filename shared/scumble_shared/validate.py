"""Whether a job makes sense, before it costs anything: used by the add-on while typing and by the server at its door.

Every refusal is a :class:`ScumbleError` that names the field, says what would be accepted, and offers a remedy
where there is one. What isn't known yet (capabilities of a server that still loads, facts of a tensor that was
never seen) is not checked here; the engine checks it again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from .checks import (
    Facts,
    check_camera,
    check_picture_size,
    check_range,
    check_tensor,
    check_view,
    invalid,
    quoted,
)
from .errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from .facts import TensorFacts, facts_of
from .job import (
    CONTROL_KINDS,
    NOISE_ANCHORS,
    SAMPLERS,
    TEXTURE_METHODS,
    TILINGS,
    Control,
    ControlImagesJob,
    GenerateJob,
    Job,
    ProjectJob,
    TextureJob,
    TextureView,
    View,
)
from .limits import DEFAULT_LIMITS, SIZE_MULTIPLE, Limits
from .messages import Capabilities, ControlNetInfo, ModelInfo
from .validate_meshes import check_textures

__all__ = ["TensorFacts", "check_camera", "check_model_id", "facts_of", "validate_job"]

MODEL_ID_BYTES = 200
RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
STRENGTH_MAX = 10.0
SEED_MAX = 2**63 - 1
REFINE_SCALE_MAX = 4.0

BUFFERS_NEEDED = {
    "depth": ("depth",),
    "normal": ("normal",),
    "segmentation": ("object_id",),
    "canny": ("depth", "normal", "object_id"),
    "lineart": ("depth", "normal", "object_id"),
}
"""Control kind -> the view's buffers it can be made from; one of them is enough."""


def validate_job(
    job: Job,
    limits: Limits = DEFAULT_LIMITS,
    capabilities: Capabilities | None = None,
    facts: Facts | None = None,
) -> None:
    """Raises ScumbleError for the first thing wrong with ``job``.

    capabilities: of the server, None or empty while it hasn't said. facts: of the tensors that were seen.
    """
    known = capabilities if capabilities is not None and capabilities.tasks else None
    if known is not None and job.task not in known.tasks:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED, f"this server does {', '.join(known.tasks)}, not {job.task}", field="job.task"
        )
    match job:
        case GenerateJob():
            _check_generate(job, limits, known, facts or {})
        case ControlImagesJob():
            _check_size(job.width, job.height, limits)
            check_view(job.view, limits, facts or {})
            _check_controls(job.controls, job.view, _model(job.model, known), known, limits, facts or {})
        case ProjectJob():
            _check_project(job, limits, facts or {})
        case TextureJob():
            _check_texture(job, limits, known, facts or {})


# --- generate ---------------------------------------------------------------------------------------


def _check_generate(job: GenerateJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    model = _check_sampling(job, limits, known)
    _check_size(job.width, job.height, limits)
    check_range(job.batch_size, 1, limits.batch_size, "job.batch_size")
    check_range(job.denoising_strength, 0.0, 1.0, "job.denoising_strength")
    if job.view is not None:
        check_view(job.view, limits, facts)
    _check_controls(job.controls, job.view, model, known, limits, facts)
    if job.noise_anchor not in NOISE_ANCHORS:
        raise invalid("job.noise_anchor", f"it can be {' or '.join(NOISE_ANCHORS)}, not {quoted(job.noise_anchor)}")
    if job.noise_anchor == "surface" and (job.view is None or job.view.depth is None):
        raise invalid("job.noise_anchor", "noise on the surface needs the view's depth, job.view.depth")
    if job.tiling not in TILINGS:
        raise invalid("job.tiling", f"it can be {' or '.join(map(repr, TILINGS))}, not {quoted(job.tiling)}")
    if job.tiling and job.noise_anchor == "surface":
        raise invalid("job.tiling", "a picture whose noise is on the surface of a view can't repeat without a seam")
    if job.mask is not None and job.init_image is None:
        raise invalid("job.mask", "a mask needs the image it belongs to, job.init_image")
    image = check_tensor(job.init_image, "job.init_image", ("uint8",), ((None, None, 3), (None, None, 4)), facts)
    check_picture_size(image, "job.init_image", limits)
    height, width = (image.shape[0], image.shape[1]) if image else (None, None)
    check_tensor(job.mask, "job.mask", ("uint8",), ((height, width),), facts)


def _check_sampling(job: GenerateJob | TextureJob, limits: Limits, known: Capabilities | None) -> ModelInfo | None:
    """What all generating tasks have. None while the server's models aren't known."""
    _check_prompt(job.prompt, "job.prompt", limits)
    _check_prompt(job.negative_prompt, "job.negative_prompt", limits)
    model = _model(job.model, known)
    samplers = known.samplers if known is not None else SAMPLERS
    if job.sampler not in samplers:
        raise invalid("job.sampler", f"{quoted(job.sampler)} isn't a sampler here; there are {', '.join(samplers)}")
    check_range(job.num_inference_steps, 1, limits.num_inference_steps, "job.num_inference_steps")
    check_range(job.guidance_scale, 0.0, limits.guidance_scale, "job.guidance_scale")
    check_range(job.seed, 0, SEED_MAX - max(limits.batch_size, limits.views), "job.seed")
    return model


def _check_prompt(text: str, path: str, limits: Limits) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limits.prompt_bytes:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"the text is {size} bytes long, at most {limits.prompt_bytes} are accepted",
            field=path,
            remedy=Remedy("Shorten the prompt"),
        )


def _check_size(width: int, height: int, limits: Limits) -> None:
    for value, path in ((width, "job.width"), (height, "job.height")):
        if value < limits.generate_side_min:
            raise invalid(path, f"{value} pixels; at least {limits.generate_side_min} is needed")
        if value > limits.generate_side or width * height > limits.generate_pixels:
            fitting = _fitting_size(width, max(height, 1), limits)
            raise ScumbleError(
                ErrorCode.TOO_LARGE,
                f"{width} x {height} pixels; at most {limits.generate_side} a side "
                f"and {limits.generate_pixels} in all are accepted",
                field=path,
                remedy=Remedy(f"Use {fitting}", RemedyAction.REDUCE_SIZE, fitting),
            )


def _fitting_size(width: int, height: int, limits: Limits) -> str:
    """The largest size of about the same shape within the limits, as "WIDTHxHEIGHT"."""
    scale = min(limits.generate_side / max(width, height), math.sqrt(limits.generate_pixels / (width * height)))
    fitting = (max(int(side * scale) // SIZE_MULTIPLE * SIZE_MULTIPLE, SIZE_MULTIPLE) for side in (width, height))
    return "x".join(map(str, fitting))


# --- models -----------------------------------------------------------------------------------------


def check_model_id(model: str, path: str) -> None:
    """Ids are names from a server's list. Whatever looks like a path is refused before anybody looks it up."""
    bad = (
        not model
        or len(model.encode("utf-8", "surrogatepass")) > MODEL_ID_BYTES
        or any(char in '/\\:*?"<>|' or not char.isprintable() for char in model)
        or model.startswith((".", " ", "~", "-"))
        or model.endswith((".", " "))
        or ".." in model
        or RESERVED_NAMES.fullmatch(model) is not None
    )
    if bad:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"{quoted(model)} isn't a model id; ids are names the server lists, never paths",
            field=path,
            remedy=Remedy("Choose a model", RemedyAction.CHOOSE_MODEL),
        )


def _model(model: str, known: Capabilities | None) -> ModelInfo | None:
    """None while the server's models aren't known."""
    check_model_id(model, "job.model")
    if known is None:
        return None
    for info in known.models:
        if info.id == model:
            return info
    _check_unusable(model, known, "job.model")
    ids = [info.id for info in known.models]
    suggestion = next(iter(get_close_matches(model, ids, 1, 0.0)), "")
    raise ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"the server has no model {quoted(model)}; it has {', '.join(ids[:8]) or 'none'}",
        field="job.model",
        remedy=Remedy(f"Use {suggestion}" if suggestion else "Choose a model", RemedyAction.CHOOSE_MODEL, suggestion),
    )


def _check_unusable(model: str, known: Capabilities, path: str) -> None:
    for info in known.unusable:
        if info.id == model:
            raise ScumbleError(
                ErrorCode.MODEL_INVALID,
                f"{info.name} can't be used: {info.reason}",
                field=path,
                remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
            )


# --- controls ---------------------------------------------------------------------------------------


def _check_controls(
    controls: Sequence[Control],
    view: View | None,
    model: ModelInfo | None,
    known: Capabilities | None,
    limits: Limits,
    facts: Facts,
) -> None:
    for index, control in enumerate(controls):
        path = f"job.controls[{index}]"
        _check_control_values(control, path, index, limits)
        _check_control_source(control, view, known, path, index)
        _check_controlnet(control, model, known, path, index)
        image = check_tensor(control.image, f"{path}.image", ("uint8",), ((None, None, 3),), facts)
        check_picture_size(image, f"{path}.image", limits)


def _check_control_values(control: Control, path: str, index: int, limits: Limits) -> None:
    if index >= limits.controls:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"at most {limits.controls} controls are accepted",
            field="job.controls",
            remedy=_remove_control(index),
        )
    check_range(control.strength, 0.0, STRENGTH_MAX, f"{path}.strength")
    check_range(control.start, 0.0, 1.0, f"{path}.start")
    check_range(control.end, 0.0, 1.0, f"{path}.end")
    if control.start > control.end:
        raise invalid(f"{path}.end", f"{control.end:g} is before the start, {control.start:g}")
    for value, name in ((control.near, "near"), (control.far, "far")):
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise invalid(f"{path}.{name}", f"{value:g}; a depth greater than zero is expected")
    if control.near is not None and control.far is not None and control.near >= control.far:
        raise invalid(f"{path}.far", f"{control.far:g} isn't beyond near, {control.near:g}")


def _check_control_source(
    control: Control, view: View | None, known: Capabilities | None, path: str, index: int
) -> None:
    kinds = set(CONTROL_KINDS)
    if control.image is not None and known is not None:
        kinds.update(kind for controlnet in known.controlnets for kind in controlnet.kinds)
    if control.kind not in kinds:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"{quoted(control.kind)} isn't a kind of control; there are {', '.join(sorted(kinds))}",
            field=f"{path}.kind",
            remedy=_remove_control(index),
        )
    if control.image is not None:
        return
    if view is None:
        raise invalid(f"{path}.image", "a control needs a picture of its own, or the job a view to make it from")
    needed = BUFFERS_NEEDED[control.kind]
    if all(getattr(view, name) is None for name in needed):
        raise invalid(f"job.view.{needed[0]}", f"a {control.kind} control needs {' or '.join(needed)} in the view")


def _check_controlnet(
    control: Control, model: ModelInfo | None, known: Capabilities | None, path: str, index: int
) -> None:
    if control.model:
        check_model_id(control.model, f"{path}.model")
    if model is None or known is None:
        return
    if not control.model:
        if control.kind not in model.control_kinds:
            raise ScumbleError(
                ErrorCode.MODEL_MISSING,
                f"there is no {control.kind} ControlNet for {model.name}",
                field=f"{path}.model",
                remedy=_remove_control(index),
            )
        return
    controlnet = next((info for info in known.controlnets if info.id == control.model), None)
    fitting = [info for info in known.controlnets if info.family == model.family and control.kind in info.kinds]
    if controlnet is None:
        _check_unusable(control.model, known, f"{path}.model")
        raise ScumbleError(
            ErrorCode.MODEL_MISSING,
            f"the server has no ControlNet {quoted(control.model)}",
            field=f"{path}.model",
            remedy=_choose_controlnet(fitting),
        )
    if controlnet.family != model.family:
        raise ScumbleError(
            ErrorCode.MODEL_MISMATCH,
            f"{controlnet.name} is for {controlnet.family} models, {model.name} is {model.family}",
            field=f"{path}.model",
            remedy=_choose_controlnet(fitting),
        )
    if control.kind not in controlnet.kinds:
        raise ScumbleError(
            ErrorCode.MODEL_MISMATCH,
            f"{controlnet.name} was trained on {', '.join(controlnet.kinds)}, not on {control.kind}",
            field=f"{path}.model",
            remedy=_choose_controlnet(fitting),
        )


def _remove_control(index: int) -> Remedy:
    return Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(index))


def _choose_controlnet(fitting: Sequence[ControlNetInfo]) -> Remedy:
    if not fitting:
        return Remedy("Choose another ControlNet", RemedyAction.CHOOSE_MODEL)
    return Remedy(f"Use {fitting[0].name}", RemedyAction.CHOOSE_MODEL, fitting[0].id)


# --- texturing --------------------------------------------------------------------------------------


def _check_project(job: ProjectJob, limits: Limits, facts: Facts) -> None:
    check_view(job.view, limits, facts)
    image = check_tensor(job.image, "job.image", ("uint8",), ((None, None, 3), (None, None, 4)), facts)
    check_picture_size(image, "job.image", limits)
    check_textures(job, limits, facts)


def _check_texture(job: TextureJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    model = _check_sampling(job, limits, known)
    if job.method not in TEXTURE_METHODS:
        raise invalid("job.method", f"{quoted(job.method)} isn't a method; there are {', '.join(TEXTURE_METHODS)}")
    check_range(job.sync_end, 0.0, 1.0, "job.sync_end")
    if not job.views:
        largest = min(limits.generate_side, math.isqrt(limits.generate_pixels))
        check_range(job.view_size, limits.generate_side_min, largest, "job.view_size")
    for index, control in enumerate(job.controls):
        path = f"job.controls[{index}]"
        _check_control_values(control, path, index, limits)
        if control.image is not None:
            raise invalid(f"{path}.image", "one picture can't be right for many views; they are made from the meshes")
        if control.kind not in CONTROL_KINDS:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"{quoted(control.kind)} can't be made from meshes; there are {', '.join(CONTROL_KINDS)}",
                field=f"{path}.kind",
                remedy=_remove_control(index),
            )
        _check_controlnet(control, model, known, path, index)
    check_range(len(job.views), 0, limits.views, "job.views")
    check_range(job.extra_views, 0, limits.views - len(job.views), "job.extra_views")
    check_range(job.refine_strength, 0.0, 1.0, "job.refine_strength")
    for index, view in enumerate(job.views):
        _check_texture_view(view, f"job.views[{index}]", job.views[0], limits, facts)
    _check_refine_scale(job, limits)
    check_textures(job, limits, facts)


def _check_refine_scale(job: TextureJob, limits: Limits) -> None:
    check_range(job.refine_scale, 1.0, REFINE_SCALE_MAX, "job.refine_scale")
    first = job.views[0].camera if job.views else None
    width, height = (job.view_size, job.view_size) if first is None else (first.width, first.height)
    room = min(limits.generate_side / max(width, height), math.sqrt(limits.generate_pixels / (width * height)))
    if job.refine_strength > 0.0 and job.refine_scale > max(room, 1.0):
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"views of {width} x {height} pixels, {job.refine_scale:g} times as large, are over "
            f"{limits.generate_side} a side",
            field="job.refine_scale",
            remedy=Remedy(f"Use at most {math.floor(room * 100.0) / 100.0:g}"),
        )


def _check_texture_view(view: TextureView, path: str, first: TextureView, limits: Limits, facts: Facts) -> None:
    check_camera(view.camera, limits, f"{path}.camera")
    width, height = view.camera.width, view.camera.height
    if max(width, height) > limits.generate_side or width * height > limits.generate_pixels:
        fitting = _fitting_size(width, height, limits)
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{width} x {height} pixels; at most {limits.generate_side} a side are generated",
            field=f"{path}.camera.width",
            remedy=Remedy(f"Use {fitting}", RemedyAction.REDUCE_SIZE, fitting),
        )
    if (width, height) != (first.camera.width, first.camera.height):
        raise invalid(
            f"{path}.camera.width",
            f"{width} x {height} pixels, but the first view has {first.camera.width} x {first.camera.height}; "
            "views of one job are of one size",
        )
    _check_prompt(view.prompt, f"{path}.prompt", limits)
    image = check_tensor(view.image, f"{path}.image", ("uint8",), ((None, None, 3),), facts)
    check_picture_size(image, f"{path}.image", limits)
