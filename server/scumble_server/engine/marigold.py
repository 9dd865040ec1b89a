"""Maps of a material from a diffusion model: diffusers' own ``MarigoldIntrinsicsPipeline``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from scumble_shared.errors import Remedy, ScumbleError
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..models.entries import EstimatorEntry
from ..models.intrinsics import Told, told_by
from ..service import JobHooks
from ..texturing.maps.estimate import Appearance
from ..texturing.maps.light import luminance
from .device import Device
from .families.loading import guarded, options

__all__ = ["Marigold", "load_marigold"]

SEED = 0
"""Of its noise: the same picture has the same maps, whatever else the job is."""


class Marigold:
    """A loaded pipeline. entry: where it is from."""

    def __init__(self, entry: EstimatorEntry, pipeline: Any) -> None:
        self.entry = entry
        self._pipeline = pipeline
        self._told = told_by(pipeline.target_properties)

    def appearances(self, pictures: Sequence[AnyArray], hooks: JobHooks) -> list[Appearance]:
        """What it says of each picture, uint8 H x W x 3, at the picture's own resolution. Raises JobCancelled."""
        found = []
        for number, picture in enumerate(pictures):
            hooks.check_cancelled()
            hooks.progress("maps", number, len(pictures))
            with _stopping(self._pipeline.unet, hooks):
                found.append(self._appearance(picture))
        return found

    def _appearance(self, picture: AnyArray) -> Appearance:
        colour = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255.0
        generator = torch.Generator("cpu").manual_seed(SEED)
        predicted = self._pipeline(colour, generator=generator, output_type="pt").prediction.float().cpu()
        maps = {kind: _values(predicted, told, colour[0]) for kind, told in self._told.items()}
        return Appearance(maps.get("albedo"), maps.get("roughness"), maps.get("metallic"))


def load_marigold(entry: EstimatorEntry, device: Device) -> Marigold:
    """Raises ScumbleError MODEL_INVALID for files that don't fit."""

    def load() -> Marigold:
        from diffusers import MarigoldIntrinsicsPipeline

        pipeline = MarigoldIntrinsicsPipeline.from_pretrained(
            entry.path, dtype=device.dtype, **options(entry.path / "unet", "diffusion_pytorch_model")
        )
        pipeline.set_progress_bar_config(disable=True)
        return Marigold(entry, pipeline.to(device.torch_device))

    try:
        return guarded(entry.name, load)
    except ScumbleError as error:
        remedy = Remedy("Use the built-in estimator")
        raise ScumbleError.from_info(replace(error.info, field="job.map_estimator", remedy=remedy)) from error


def _values(predicted: Tensor, told: Told, colour: Tensor) -> Tensor:
    """One map, linear: (3, h, w) or (h, w). predicted: of all targets (T, 3, h, w). colour: the picture, sRGB."""
    image = predicted[told.target]
    values = image if told.channel is None else image[told.channel]
    if told.channel is None and not told.linear:
        return _linear(values)
    if told.channel is None and told.up_to_scale:
        brightness = luminance(_linear(colour)).median() / luminance(values).median().clamp(min=1e-3)
        return (values * brightness).clamp(0.0, 1.0)
    return values


def _linear(values: Tensor) -> Tensor:
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@contextmanager
def _stopping(network: torch.nn.Module, hooks: JobHooks) -> Iterator[None]:
    """Looks before each step whether the job was cancelled."""
    handle = network.register_forward_pre_hook(lambda *_: hooks.check_cancelled())
    try:
        yield
    finally:
        handle.remove()
