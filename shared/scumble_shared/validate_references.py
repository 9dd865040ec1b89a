"""Whether reference pictures make sense, and go with the model."""

from __future__ import annotations

from collections.abc import Sequence

from .checks import Facts, check_picture_size, check_range, check_tensor, invalid, quoted
from .errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from .job import REFERENCE_USES, Reference
from .limits import Limits
from .messages import Capabilities, ModelInfo
from .validate_models import check_model_id, check_unusable

__all__ = ["check_references", "remove_reference"]

WEIGHT_MAX = 10.0


def check_references(
    references: Sequence[Reference],
    model: ModelInfo | None,
    known: Capabilities | None,
    limits: Limits,
    facts: Facts,
    one_frame: bool = True,
) -> None:
    """one_frame: the job makes pictures of one frame, in which a mask has its place."""
    for index, reference in enumerate(references):
        path = f"job.references[{index}]"
        if index >= limits.references:
            raise ScumbleError(
                ErrorCode.TOO_LARGE,
                f"at most {limits.references} reference pictures are accepted",
                field="job.references",
                remedy=remove_reference(index),
            )
        _check_values(reference, path)
        if reference.mask is not None and not one_frame:
            raise invalid(f"{path}.mask", "one mask can't be right for many views; references are of all of them")
        image = check_tensor(reference.image, f"{path}.image", ("uint8",), ((None, None, 3),), facts)
        check_picture_size(image, f"{path}.image", limits)
        mask = check_tensor(reference.mask, f"{path}.mask", ("uint8",), ((None, None),), facts)
        check_picture_size(mask, f"{path}.mask", limits)
        _check_adapter(reference, model, known, f"{path}.model", index)


def _check_values(reference: Reference, path: str) -> None:
    check_range(reference.weight, 0.0, WEIGHT_MAX, f"{path}.weight")
    if reference.use not in REFERENCE_USES:
        raise invalid(f"{path}.use", f"it can be {', '.join(REFERENCE_USES)}, not {quoted(reference.use)}")
    check_range(reference.start, 0.0, 1.0, f"{path}.start")
    check_range(reference.end, 0.0, 1.0, f"{path}.end")
    if reference.start > reference.end:
        raise invalid(f"{path}.end", f"{reference.end:g} is before the start, {reference.start:g}")


def _check_adapter(
    reference: Reference, model: ModelInfo | None, known: Capabilities | None, path: str, index: int
) -> None:
    if reference.model:
        check_model_id(reference.model, path)
    if model is None or known is None:
        return
    remedy = remove_reference(index)
    if not model.takes_references:
        message = f"{model.name} is {model.family}, which can't be shown reference pictures here"
        raise ScumbleError(ErrorCode.UNSUPPORTED, message, field=path, remedy=remedy)
    if not reference.model:
        if all(info.family != model.family for info in known.adapters):
            message = f"the server has no IP-Adapter for {model.family} models, which reference pictures need"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=path, remedy=remedy)
        return
    adapter = next((info for info in known.adapters if info.id == reference.model), None)
    if adapter is None:
        check_unusable(reference.model, known, path, remedy)
        message = f"the server has no IP-Adapter {quoted(reference.model)}"
        raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=path, remedy=remedy)
    if adapter.family != model.family:
        message = f"{adapter.name} is for {adapter.family} models, {model.name} is {model.family}"
        raise ScumbleError(ErrorCode.MODEL_MISMATCH, message, field=path, remedy=remedy)


def remove_reference(index: int) -> Remedy:
    """Of the job's."""
    return Remedy("Remove the reference", RemedyAction.REMOVE_REFERENCE, str(index))
