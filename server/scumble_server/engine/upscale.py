"""An UpscaleJob from its values to its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import UPSCALE_METHODS, UpscaleJob
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ..service import JobHooks
from ..upscaling.halo import Network, run_in_parts, side_that_fits
from ..upscaling.layers import Layers, from_array, to_array
from ..upscaling.resample import resample
from .conditioning import to_bytes
from .family import LoadedControlNet, LoadedModel
from .generate import Timings
from .upscale_diffusion import ENLARGED, Detail, add_detail

__all__ = ["Means", "check_picture", "upscale"]

CPU_SIDE = 256
"""Side of the parts a network is shown on a CPU: what fits its caches is quicker."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a job's method needs, None otherwise. controls: the ControlNets, and their pictures, uint8 and as large as
    the result; None for those that are shown the enlarged picture itself."""

    network: Network | None = None
    model: LoadedModel | None = None
    controls: Sequence[tuple[LoadedControlNet, AnyArray | None]] = ()


def upscale(
    job: UpscaleJob,
    tensors: Mapping[Digest, AnyArray],
    means: Means,
    device: torch.device,
    hooks: JobHooks,
    timings: Timings,
) -> AnyArray:
    """The job's result, as documented there. Raises ScumbleError INVALID_FIELD or INVALID_RESULT, and JobCancelled."""
    if job.method not in UPSCALE_METHODS:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"no method is called {job.method[:80]!r}; there are {', '.join(UPSCALE_METHODS)}",
            field="job.method",
        )
    image = check_picture(tensors[job.image])
    hooks.check_cancelled()
    with timings.stage("enlarging"):
        hooks.progress("enlarging", fraction=0.0)
        layers = from_array(image, device)
        colour = _enlarged(job, layers, means.network, hooks, 1.0 if means.model is None else ENLARGED)
        hooks.check_cancelled()
    if means.model is not None:
        controls = [(net, _shown(colour) if own is None else own) for net, own in means.controls]
        colour = add_detail(Detail(job, means.model, controls, hooks, timings), colour)
    height, width = colour.shape[2:]
    return to_array(colour, layers.enlarged_alpha(height, width, job.tiling), layers.dtype)


@torch.inference_mode()
def _enlarged(job: UpscaleJob, layers: Layers, network: Network | None, hooks: JobHooks, share: float) -> Tensor:
    """1 x 3 x factor * H x factor * W, 0 to 1. share: of the whole job that this is."""
    colour = layers.colour
    height, width = (side * job.factor for side in colour.shape[2:])

    def told(done: int, count: int) -> None:
        hooks.check_cancelled()
        hooks.progress("enlarging", done, count, share * done / count)

    if network is not None:
        side = _side(colour.device, network)
        while colour.shape[2] < height:
            colour = run_in_parts(network, colour, side, job.tiling, told)
    return resample(colour, height, width, job.tiling).clamp(0.0, 1.0)


def _side(device: torch.device, network: Network) -> int:
    """Of the parts a network is shown, as memory allows."""
    if device.type == "cuda":
        return side_that_fits(int(torch.cuda.mem_get_info(device)[0]), network.scale)
    return min(CPU_SIDE, side_that_fits(int(psutil.virtual_memory().available), network.scale))


def _shown(colour: Tensor) -> AnyArray:
    image: AnyArray = to_bytes(colour)[0].cpu().numpy()
    return image


def check_picture(array: AnyArray) -> AnyArray:
    """The very same. Raises ScumbleError INVALID_FIELD if it is no picture."""
    if array.dtype.name not in ("uint8", "uint16") or array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected a uint8 or uint16 picture, height x width x 3 or 4, got {array.dtype.name} of {array.shape}",
            field="job.image",
        )
    return array
