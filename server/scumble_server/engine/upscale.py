"""An UpscaleJob from its values to its picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import UPSCALE_METHODS, UpscaleJob
from scumble_shared.tensor import AnyArray, Digest

from ..service import JobHooks
from ..upscaling.layers import from_array, to_array
from ..upscaling.resample import resample
from .generate import Timings

__all__ = ["upscale"]


def upscale(
    job: UpscaleJob, tensors: Mapping[Digest, AnyArray], device: torch.device, hooks: JobHooks, timings: Timings
) -> AnyArray:
    """The job's result, as documented there. Raises ScumbleError INVALID_FIELD, and JobCancelled."""
    if job.method not in UPSCALE_METHODS:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"no method is called {job.method[:80]!r}; there are {', '.join(UPSCALE_METHODS)}",
            field="job.method",
        )
    with timings.stage("enlarging"):
        hooks.progress("enlarging", fraction=0.0)
        layers = from_array(_picture(tensors[job.image]), device)
        height, width = (side * job.factor for side in layers.colour.shape[2:])
        colour = resample(layers.colour, height, width, job.tiling)
        hooks.check_cancelled()
    return to_array(colour, layers.enlarged_alpha(height, width, job.tiling), layers.dtype)


def _picture(array: AnyArray) -> AnyArray:
    if array.dtype.name not in ("uint8", "uint16") or array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected a uint8 or uint16 picture, height x width x 3 or 4, got {array.dtype.name} of {array.shape}",
            field="job.image",
        )
    return array
