"""Whether prompts for parts of a picture make sense, and what objects are said to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from .ade20k import COLOURS, KINDS, kind_named
from .checks import Facts, check_picture_size, check_prompt, check_range, check_tensor, invalid, quoted
from .errors import ErrorCode, Remedy, ScumbleError
from .job import GenerateJob, Label, Region, TextureJob
from .limits import Limits

__all__ = ["check_kind", "check_labels", "check_regions"]

OBJECT_IDS = (1, 65535)


def check_regions(job: GenerateJob | TextureJob, limits: Limits, facts: Facts) -> None:
    """Raises ScumbleError for the first region that is nowhere, or can't be in the job's pictures."""
    if len(job.regions) > limits.regions:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{len(job.regions)} regions; at most {limits.regions} are accepted",
            field="job.regions",
            remedy=Remedy("Give fewer objects a prompt of their own, or several objects the same one"),
        )
    for index, region in enumerate(job.regions):
        path = f"job.regions[{index}]"
        check_prompt(region.prompt, f"{path}.prompt", limits)
        check_range(region.weight, 0.0, 1.0, f"{path}.weight")
        _check_place(region, path)
        for place, number in enumerate(region.objects):
            check_range(number, *OBJECT_IDS, f"{path}.objects[{place}]")
        if isinstance(job, TextureJob):
            _check_meshes(region, path, job)
            continue
        if region.objects and (job.view is None or job.view.object_id is None):
            raise invalid("job.view.object_id", f"job.regions[{index}] names objects, which are found in this buffer")
        mask = check_tensor(region.mask, f"{path}.mask", ("uint8",), ((None, None),), facts)
        check_picture_size(mask, f"{path}.mask", limits)


def _check_place(region: Region, path: str) -> None:
    if not region.objects and region.mask is None:
        raise invalid(f"{path}.objects", "names no object and there is no mask, so nothing says where it is")
    if region.objects and region.mask is not None:
        raise invalid(f"{path}.mask", "objects are named besides; give one of the two")


def _check_meshes(region: Region, path: str, job: TextureJob) -> None:
    if region.mask is not None:
        raise invalid(f"{path}.mask", "one mask can't be right for many views; name objects")
    known = {mesh.object_id for mesh in job.meshes}
    for place, number in enumerate(region.objects):
        if number not in known:
            raise invalid(f"{path}.objects[{place}]", f"{number} is the object_id of none of job.meshes")


def check_labels(labels: Sequence[Label], path: str, limits: Limits) -> None:
    """Raises ScumbleError for what ADE20K doesn't know, and for an object that is two things."""
    check_range(len(labels), 0, limits.labels, path)
    seen: set[int] = set()
    for index, label in enumerate(labels):
        check_range(label.object_id, *OBJECT_IDS, f"{path}[{index}].object_id")
        if label.object_id in seen:
            raise invalid(f"{path}[{index}].object_id", f"{label.object_id} has a label already")
        seen.add(label.object_id)
        check_kind(label.kind, f"{path}[{index}].kind")


def check_kind(kind: str, path: str) -> None:
    """Raises ScumbleError INVALID_FIELD, with what may have been meant, for what isn't one of ADE20K's names."""
    if kind in COLOURS:
        return
    meant = kind_named(kind) or next(iter(get_close_matches(kind.lower(), KINDS, 1)), None)
    remedy = Remedy(f"Use {meant}") if meant else Remedy("Choose one of the 150 names of ADE20K, or none")
    raise ScumbleError(
        ErrorCode.INVALID_FIELD, f"{quoted(kind)} isn't one of ADE20K's kinds of things", field=path, remedy=remedy
    )
