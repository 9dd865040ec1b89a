"""Whether the maps a job asks for can be made."""

from __future__ import annotations

from .checks import invalid, quoted
from .errors import ErrorCode, Remedy, ScumbleError
from .job import BUILT_IN_ESTIMATOR, MAPS, GenerateJob, ProjectJob, TextureJob
from .messages import Capabilities
from .validate_models import check_model_id, check_unusable

__all__ = ["check_maps"]


def check_maps(job: GenerateJob | ProjectJob | TextureJob, known: Capabilities | None) -> None:
    """Raises ScumbleError INVALID_FIELD, MODEL_MISSING or MODEL_INVALID. known: None while capabilities aren't."""
    for index, kind in enumerate(job.maps):
        path = f"job.maps[{index}]"
        if kind not in MAPS:
            raise invalid(path, f"{quoted(kind)} isn't a map; there are {', '.join(MAPS)}")
        if kind in job.maps[:index]:
            raise invalid(path, f"{kind} is there twice")
    check_model_id(job.map_estimator, "job.map_estimator")
    if known is None or job.map_estimator == BUILT_IN_ESTIMATOR:
        return
    ids = [info.id for info in known.map_estimators]
    if job.map_estimator in ids:
        return
    check_unusable(job.map_estimator, known, "job.map_estimator")
    raise ScumbleError(
        ErrorCode.MODEL_MISSING,
        f"the server has no estimator of maps {quoted(job.map_estimator)}; it has {', '.join(ids) or 'none'}",
        field="job.map_estimator",
        remedy=Remedy("Use the built-in estimator"),
    )
