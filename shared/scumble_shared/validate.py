"""Whether a job makes sense, before it costs anything: used by the add-on while typing and by the server at its door.

Every refusal is a :class:`ScumbleError` that names the field, says what would be accepted, and offers a remedy
where there is one. What isn't known yet (capabilities of a server that still loads, facts of a tensor that was
never seen) is not checked here; the engine checks it again.
"""

from __future__ import annotations

import math

from .checks import (
    Facts,
    check_camera,
    check_picture_size,
    check_prompt,
    check_range,
    check_tensor,
    check_view,
    invalid,
    quoted,
)
from .detectors import PICTURE_KINDS
from .errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from .facts import TensorFacts, facts_of
from .job import (
    CONTROL_KINDS,
    DECODERS,
    MEMORIES,
    NOISE_ANCHORS,
    QUALITIES,
    TEXTURE_METHODS,
    TILINGS,
    UPSCALE_FACTORS,
    UPSCALE_METHODS,
    AnyJob,
    ControlImagesJob,
    GenerateJob,
    LibraryJob,
    ProjectJob,
    TextureJob,
    TextureView,
    UpscaleJob,
)
from .limits import DEFAULT_LIMITS, SIZE_MULTIPLE, Limits
from .messages import Capabilities, ModelInfo
from .pose import check_poses
from .validate_controls import ControlSources, no_poses, remove_control
from .validate_library import check_library
from .validate_maps import check_maps
from .validate_meshes import check_textures
from .validate_models import (
    check_control_values,
    check_controlnet,
    check_controls,
    check_loras,
    check_model_id,
    check_sampler,
    check_unusable,
    model_info,
)
from .validate_references import check_references
from .validate_regions import check_kind, check_labels, check_regions

__all__ = ["TensorFacts", "check_camera", "check_model_id", "facts_of", "validate_job"]

SEED_MAX = 2**63 - 1
REFINE_SCALE_MAX = 4.0
UPSCALE_TILE_MIN = 64


def validate_job(
    job: AnyJob,
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
            check_labels(job.view.labels, "job.view.labels", limits)
            sources = ControlSources(job.view, job.init_image is not None)
            check_controls(job.controls, sources, model_info(job.model, known), known, limits, facts or {})
            _check_own_picture(job, limits, facts or {})
        case ProjectJob():
            _check_project(job, limits, known, facts or {})
        case TextureJob():
            _check_texture(job, limits, known, facts or {})
        case UpscaleJob():
            _check_upscale(job, limits, known, facts or {})
        case LibraryJob():
            check_library(job, limits)


# --- generate ---------------------------------------------------------------------------------------


def _check_generate(job: GenerateJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    model = _check_sampling(job, limits, known)
    check_references(job.references, model, known, limits, facts)
    _check_size(job.width, job.height, limits)
    check_range(job.batch_size, 1, limits.batch_size, "job.batch_size")
    check_range(job.denoising_strength, 0.0, 1.0, "job.denoising_strength")
    if job.view is not None:
        check_view(job.view, limits, facts)
        check_labels(job.view.labels, "job.view.labels", limits)
    check_regions(job, limits, facts)
    sources = ControlSources(job.view, job.init_image is not None)
    check_controls(job.controls, sources, model, known, limits, facts)
    if job.noise_anchor not in NOISE_ANCHORS:
        raise invalid("job.noise_anchor", f"it can be {' or '.join(NOISE_ANCHORS)}, not {quoted(job.noise_anchor)}")
    if job.noise_anchor == "surface" and (job.view is None or job.view.depth is None):
        raise invalid("job.noise_anchor", "noise on the surface needs the view's depth, job.view.depth")
    check_maps(job, known)
    _check_quality(job.quality)
    if job.decoder not in DECODERS:
        raise invalid("job.decoder", f"it can be {' or '.join(DECODERS)}, not {quoted(job.decoder)}")
    _check_tiling(job.tiling)
    if job.tiling and job.noise_anchor == "surface":
        raise invalid("job.tiling", "a picture whose noise is on the surface of a view can't repeat without a seam")
    if job.mask is not None and job.init_image is None:
        raise invalid("job.mask", "a mask needs the image it belongs to, job.init_image")
    image = _check_own_picture(job, limits, facts)
    height, width = (image.shape[0], image.shape[1]) if image else (None, None)
    check_tensor(job.mask, "job.mask", ("uint8",), ((height, width),), facts)


def _check_own_picture(job: GenerateJob | ControlImagesJob, limits: Limits, facts: Facts) -> TensorFacts | None:
    image = check_tensor(job.init_image, "job.init_image", ("uint8",), ((None, None, 3), (None, None, 4)), facts)
    check_picture_size(image, "job.init_image", limits)
    return image


def _check_quality(quality: str) -> None:
    if quality not in QUALITIES:
        raise invalid("job.quality", f"it can be {', '.join(QUALITIES)}, not {quoted(quality)}")


def _check_tiling(tiling: str) -> None:
    if tiling not in TILINGS:
        raise invalid("job.tiling", f"it can be {' or '.join(map(repr, TILINGS))}, not {quoted(tiling)}")


def _check_sampling(
    job: GenerateJob | TextureJob | UpscaleJob, limits: Limits, known: Capabilities | None
) -> ModelInfo | None:
    """What all generating tasks have. None while the server's models aren't known."""
    check_prompt(job.prompt, "job.prompt", limits)
    check_prompt(job.negative_prompt, "job.negative_prompt", limits)
    model = model_info(job.model, known)
    check_sampler(job.sampler, model, known)
    check_loras(job.loras, model, known, limits)
    check_range(job.num_inference_steps, 1, limits.num_inference_steps, "job.num_inference_steps")
    check_range(job.guidance_scale, 0.0, limits.guidance_scale, "job.guidance_scale")
    check_range(job.seed, 0, SEED_MAX - max(limits.batch_size, limits.views), "job.seed")
    if job.memory not in MEMORIES:
        raise invalid("job.memory", f"it can be {', '.join(MEMORIES)}, not {quoted(job.memory)}")
    return model


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


# --- texturing --------------------------------------------------------------------------------------


def _check_project(job: ProjectJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    check_prompt(job.prompt, "job.prompt", limits)
    check_maps(job, known)
    check_view(job.view, limits, facts)
    image = check_tensor(job.image, "job.image", ("uint8", "uint16"), ((None, None, 3), (None, None, 4)), facts)
    check_picture_size(image, "job.image", limits)
    check_textures(job, limits, facts)


def _check_texture(job: TextureJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    model = _check_sampling(job, limits, known)
    check_references(job.references, model, known, limits, facts, one_frame=False)
    if job.method not in TEXTURE_METHODS:
        raise invalid("job.method", f"{quoted(job.method)} isn't a method; there are {', '.join(TEXTURE_METHODS)}")
    check_range(job.sync_end, 0.0, 1.0, "job.sync_end")
    if not job.views:
        largest = min(limits.generate_side, math.isqrt(limits.generate_pixels))
        check_range(job.view_size, limits.generate_side_min, largest, "job.view_size")
    for index, control in enumerate(job.controls):
        path = f"job.controls[{index}]"
        check_control_values(control, path, index, limits)
        if control.image is not None or control.detector:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                "one picture can't be right for many views; they are made from the meshes",
                field=f"{path}.image",
                remedy=remove_control(index),
            )
        if control.kind in PICTURE_KINDS and not job.base:
            raise invalid("job.base", f"a {control.kind} control shows what is painted already; there is no base")
        if control.kind == "openpose" and not job.poses:
            raise no_poses("job.poses", index)
        if control.kind not in CONTROL_KINDS:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"{quoted(control.kind)} can't be made from meshes; there are {', '.join(CONTROL_KINDS)}",
                field=f"{path}.kind",
                remedy=remove_control(index),
            )
        check_controlnet(control, model, known, path, index)
    check_poses(job.poses, "job.poses", limits)
    check_regions(job, limits, facts)
    for index, mesh in enumerate(job.meshes):
        if mesh.kind:
            check_kind(mesh.kind, f"job.meshes[{index}].kind")
    check_range(len(job.views), 0, limits.views, "job.views")
    check_range(job.extra_views, 0, limits.views - len(job.views), "job.extra_views")
    check_range(job.refine_strength, 0.0, 1.0, "job.refine_strength")
    for index, view in enumerate(job.views):
        _check_texture_view(view, f"job.views[{index}]", job.views[0], limits, facts)
    _check_refine_scale(job, limits)
    _check_quality(job.quality)
    check_maps(job, known)
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
    check_prompt(view.prompt, f"{path}.prompt", limits)
    image = check_tensor(view.image, f"{path}.image", ("uint8",), ((None, None, 3),), facts)
    check_picture_size(image, f"{path}.image", limits)


# --- upscaling --------------------------------------------------------------------------------------


def _check_upscale(job: UpscaleJob, limits: Limits, known: Capabilities | None, facts: Facts) -> None:
    model = _check_sampling(job, limits, known)
    check_references(job.references, model, known, limits, facts)
    if job.factor not in UPSCALE_FACTORS:
        raise invalid("job.factor", f"it can be {' or '.join(map(str, UPSCALE_FACTORS))}, not {job.factor}")
    if job.method not in UPSCALE_METHODS:
        raise invalid("job.method", f"{quoted(job.method)} isn't a method; there are {', '.join(UPSCALE_METHODS)}")
    _check_upscaler(job, known)
    check_range(job.denoising_strength, 0.0, 1.0, "job.denoising_strength")
    check_range(job.tile_size, UPSCALE_TILE_MIN, limits.generate_side, "job.tile_size")
    check_range(job.tile_overlap, 0, job.tile_size // 2, "job.tile_overlap")
    _check_tiling(job.tiling)
    if job.view is not None:
        check_view(job.view, limits, facts)
        check_labels(job.view.labels, "job.view.labels", limits)
    check_controls(job.controls, ControlSources(job.view, True, ("tile",)), model, known, limits, facts)
    image = check_tensor(job.image, "job.image", ("uint8", "uint16"), ((None, None, 3), (None, None, 4)), facts)
    if image is None:
        return
    height, width = (side * job.factor for side in image.shape[:2])
    if max(height, width) > limits.image_side or height * width > limits.image_pixels:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"it would be {width} x {height} pixels; at most {limits.image_side} a side are accepted",
            field="job.factor",
            remedy=Remedy("Enlarge it twice" if job.factor > UPSCALE_FACTORS[0] else "Use a smaller picture"),
        )


def _check_upscaler(job: UpscaleJob, known: Capabilities | None) -> None:
    if not job.upscaler:
        if job.method == "model":
            raise invalid("job.upscaler", "this method needs an upscaling network")
        return
    check_model_id(job.upscaler, "job.upscaler")
    if known is None or any(info.id == job.upscaler for info in known.upscalers):
        return
    check_unusable(job.upscaler, known, "job.upscaler")
    ids = [info.id for info in known.upscalers]
    raise ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"the server has no upscaler {quoted(job.upscaler)}; it has {', '.join(ids[:8]) or 'none'}",
        field="job.upscaler",
        remedy=Remedy("Choose another way to enlarge"),
    )
