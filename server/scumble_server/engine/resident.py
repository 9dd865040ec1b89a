"""The models and ControlNets that stay on the device between jobs, and the word to the library that they are in use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

from ..models.entries import ControlNetEntry, EstimatorEntry, ModelEntry, UpscalerEntry
from ..models.library import lease
from ..service import JobHooks
from ..upscaling.halo import Network
from ..upscaling.network import load_network
from .cache import Cache
from .device import Device
from .families import family_of
from .family import LoadedControlNet, LoadedModel
from .fast.engage import accelerate, accelerate_controlnet
from .lora import Changes, Wanted
from .marigold import Marigold, load_marigold

__all__ = ["ResidentModels"]

MODELS_KEPT = 1
CONTROLNETS_KEPT = 4
UPSCALERS_KEPT = 1
ESTIMATORS_KEPT = 1

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class _Held(Generic[Loaded]):
    """lease: that its files aren't deleted or replaced; open weights may be read from disk at any time. changes: of a
    model's weights."""

    loaded: Loaded
    lease: ExitStack
    changes: Changes = field(default_factory=Changes)


class ResidentModels:
    """Known by their paths, since an id may stand for another model after the folders were looked through again."""

    def __init__(self, device: Device, compiles: bool = False) -> None:
        """compiles: kernels are made for models on CUDA, in the background."""
        self._device, self._compiles = device, compiles
        self._models: Cache[Path, _Held[LoadedModel]] = Cache(MODELS_KEPT, _release)
        self._controlnets: Cache[tuple[Path, Path], _Held[LoadedControlNet]] = Cache(CONTROLNETS_KEPT, _release)
        self._upscalers: Cache[Path, _Held[Network]] = Cache(UPSCALERS_KEPT, _release)
        self._estimators: Cache[Path, _Held[Marigold]] = Cache(ESTIMATORS_KEPT, _release)

    def model(self, entry: ModelEntry, hooks: JobHooks, loras: Sequence[Wanted] = ()) -> LoadedModel:
        """Loaded if it isn't yet; what was loaded before it goes. With these LoRAs and no others.

        Raises ScumbleError MODEL_INVALID, or IN_USE while its files are being deleted or replaced; and as
        :meth:`.lora.Changes.make` does.
        """

        def load() -> _Held[LoadedModel]:
            hooks.progress("loading")
            self._controlnets.clear()
            with _leased(entry.path, "job.model") as stack:
                loaded = family_of(entry.family).load_model(entry, self._device)
                accelerate(loaded, self._compiles)
                return _Held(loaded, stack.pop_all())

        held = self._models.get(entry.path, load)
        held.changes.make(held.loaded, loras)
        return _spaced(held.loaded, loras)

    def controlnet(
        self, entry: ControlNetEntry, model: LoadedModel, hooks: JobHooks, position: int
    ) -> LoadedControlNet:
        """The ControlNet of control number ``position``. Raises as :meth:`model` does, and MODEL_MISMATCH."""
        field = f"job.controls[{position}].model"

        def load() -> _Held[LoadedControlNet]:
            hooks.progress("loading")
            with _leased(entry.path, field) as stack:
                try:
                    loaded = family_of(entry.family).load_controlnet(entry, model)
                except ScumbleError as error:
                    remedy = Remedy("Remove this control", RemedyAction.REMOVE_CONTROL, str(position))
                    raise ScumbleError.from_info(replace(error.info, field=field, remedy=remedy)) from error
                accelerate_controlnet(loaded, self._device)
                return _Held(loaded, stack.pop_all())

        return self._controlnets.get((model.entry.path, entry.path), load).loaded

    def upscaler(self, entry: UpscalerEntry, hooks: JobHooks) -> Network:
        """Raises as :func:`..upscaling.network.load_network` does, and ScumbleError IN_USE."""

        def load() -> _Held[Network]:
            hooks.progress("loading")
            with _leased(entry.path, "job.upscaler") as stack:
                return _Held(load_network(entry.path, entry.name, self._device.torch_device), stack.pop_all())

        return self._upscalers.get(entry.path, load).loaded

    def estimator(self, entry: EstimatorEntry, hooks: JobHooks) -> Marigold:
        """Raises ScumbleError MODEL_INVALID, or IN_USE."""

        def load() -> _Held[Marigold]:
            hooks.progress("loading")
            with _leased(entry.path, "job.map_estimator") as stack:
                return _Held(load_marigold(entry, self._device), stack.pop_all())

        return self._estimators.get(entry.path, load).loaded


def _spaced(model: LoadedModel, loras: Sequence[Wanted]) -> LoadedModel:
    """With the timesteps that the first LoRA which saves steps was trained on."""
    spacing = next((one.entry.timestep_spacing for one in loras if one.weight and one.entry.timestep_spacing), "")
    if not spacing:
        return model
    return replace(model, scheduler_config={**model.scheduler_config, "timestep_spacing": spacing})


def _leased(path: Path, field: str) -> ExitStack:
    """Raises ScumbleError IN_USE about the job's ``field``."""
    stack = ExitStack()
    try:
        stack.enter_context(lease(path))
    except ScumbleError as error:
        if error.code is not ErrorCode.IN_USE:
            raise
        raise ScumbleError.from_info(replace(error.info, field=field)) from error
    return stack


def _release(held: _Held[Loaded]) -> None:
    held.lease.close()
