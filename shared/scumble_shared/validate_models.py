"""Whether a job's model is there, and whether its controls go with it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from .checks import Facts, check_picture_size, check_range, check_tensor, invalid, quoted
from .errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from .job import SAMPLERS, Control, Lora
from .limits import Limits
from .messages import Capabilities, ControlNetInfo, ModelInfo
from .validate_controls import ControlSources, check_control_source, remove_control

__all__ = [
    "check_control_values",
    "check_controlnet",
    "check_controls",
    "check_loras",
    "check_model_id",
    "check_sampler",
    "check_unusable",
    "model_info",
]

MODEL_ID_BYTES = 200
RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
STRENGTH_MAX = 10.0
LORA_WEIGHT_MAX = 10.0


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


def model_info(model: str, known: Capabilities | None) -> ModelInfo | None:
    """None while the server's models aren't known."""
    check_model_id(model, "job.model")
    if known is None:
        return None
    for info in known.models:
        if info.id == model:
            return info
    check_unusable(model, known, "job.model")
    ids = [info.id for info in known.models]
    suggestion = next(iter(get_close_matches(model, ids, 1, 0.0)), "")
    raise ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"the server has no model {quoted(model)}; it has {', '.join(ids[:8]) or 'none'}",
        field="job.model",
        remedy=Remedy(f"Use {suggestion}" if suggestion else "Choose a model", RemedyAction.CHOOSE_MODEL, suggestion),
    )


def check_unusable(model: str, known: Capabilities, path: str, remedy: Remedy | None = None) -> None:
    for info in known.unusable:
        if info.id == model:
            raise ScumbleError(
                ErrorCode.MODEL_INVALID,
                f"{info.name} can't be used: {info.reason}",
                field=path,
                remedy=remedy or Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
            )


def check_sampler(sampler: str, model: ModelInfo | None, known: Capabilities | None) -> None:
    samplers = known.samplers if known is not None else SAMPLERS
    if sampler not in samplers:
        raise invalid("job.sampler", f"{quoted(sampler)} isn't a sampler here; there are {', '.join(samplers)}")
    if model is not None and model.samplers and sampler not in model.samplers:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{model.name} can't be sampled with {sampler}; there are {', '.join(model.samplers)}",
            field="job.sampler",
            remedy=Remedy(f"Use {model.sampler}"),
        )


# --- LoRAs ------------------------------------------------------------------------------------------


def check_loras(loras: Sequence[Lora], model: ModelInfo | None, known: Capabilities | None, limits: Limits) -> None:
    for index, lora in enumerate(loras):
        path, remedy = f"job.loras[{index}]", Remedy("Remove the LoRA", RemedyAction.REMOVE_LORA, str(index))
        if index >= limits.loras:
            message = f"at most {limits.loras} LoRAs are accepted"
            raise ScumbleError(ErrorCode.TOO_LARGE, message, field="job.loras", remedy=remedy)
        check_model_id(lora.model, f"{path}.model")
        check_range(lora.weight, -LORA_WEIGHT_MAX, LORA_WEIGHT_MAX, f"{path}.weight")
        if model is None or known is None:
            continue
        info = next((info for info in known.loras if info.id == lora.model), None)
        if info is None:
            check_unusable(lora.model, known, f"{path}.model", remedy)
            message = f"the server has no LoRA {quoted(lora.model)}"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=f"{path}.model", remedy=remedy)
        if info.family != model.family:
            message = f"{info.name} is for {info.family} models, {model.name} is {model.family}"
            raise ScumbleError(ErrorCode.MODEL_MISMATCH, message, field=f"{path}.model", remedy=remedy)


# --- controls ---------------------------------------------------------------------------------------


def check_controls(
    controls: Sequence[Control],
    sources: ControlSources,
    model: ModelInfo | None,
    known: Capabilities | None,
    limits: Limits,
    facts: Facts,
) -> None:
    for index, control in enumerate(controls):
        path = f"job.controls[{index}]"
        check_control_values(control, path, index, limits)
        check_control_source(control, sources, known, path, index)
        check_controlnet(control, model, known, path, index)
        image = check_tensor(control.image, f"{path}.image", ("uint8",), ((None, None, 3),), facts)
        check_picture_size(image, f"{path}.image", limits)


def check_control_values(control: Control, path: str, index: int, limits: Limits) -> None:
    if index >= limits.controls:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"at most {limits.controls} controls are accepted",
            field="job.controls",
            remedy=remove_control(index),
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


def check_controlnet(
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
                remedy=remove_control(index),
            )
        return
    controlnet = next((info for info in known.controlnets if info.id == control.model), None)
    fitting = [info for info in known.controlnets if info.family == model.family and control.kind in info.kinds]
    if controlnet is None:
        check_unusable(control.model, known, f"{path}.model")
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


def _choose_controlnet(fitting: Sequence[ControlNetInfo]) -> Remedy:
    if not fitting:
        return Remedy("Choose another ControlNet", RemedyAction.CHOOSE_MODEL)
    return Remedy(f"Use {fitting[0].name}", RemedyAction.CHOOSE_MODEL, fitting[0].id)
