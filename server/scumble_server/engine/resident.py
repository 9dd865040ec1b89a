"""The models and ControlNets that stay loaded between jobs, and the word to the library that they are in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

from ..memory.machine import Bytes
from ..memory.plan import Plan
from ..models.entries import AdapterEntry, ControlNetEntry, EncoderEntry, EstimatorEntry, ModelEntry, UpscalerEntry
from ..models.library import lease
from ..service import JobHooks
from ..upscaling.halo import Network
from ..upscaling.network import load_network
from .cache import Cache
from .device import Device
from .families import family_of
from .family import LoadedControlNet, LoadedModel
from .fast.engage import accelerate, accelerate_controlnet
from .lora import Changes, Wanted, versions
from .marigold import Marigold, load_marigold
from .memory.kept import Kept
from .memory.laying import lay, modules_of, own_memory, settled, settled_adapter, settled_controlnet, where_to_load
from .references import LoadedAdapter, LoadedEncoder, load_adapter, load_encoder

__all__ = ["ResidentModels"]

UPSCALERS_KEPT = 1
ESTIMATORS_KEPT = 1

Loaded = TypeVar("Loaded")


@dataclass(slots=True)
class _Held(Generic[Loaded]):
    """lease: that its files aren't deleted or replaced; open weights may be read from disk at any time. changes: of a
    model's weights. rests: it isn't in use, so that its files may be."""

    loaded: Loaded
    lease: ExitStack
    changes: Changes = field(default_factory=Changes)
    rests: bool = False


class ResidentModels:
    """Known by their paths, since an id may stand for another model after the folders were looked through again; and by
    how they lie in memory, for a model that was stored smaller isn't what it was."""

    def __init__(self, device: Device, compiles: bool = False, room: Bytes = Bytes()) -> None:  # noqa: B008
        """compiles: kernels are made for models on CUDA, in the background. room: for all that stays; what a job asks
        for stays as long as it runs, whether there is room or not."""
        self._device, self._compiles = device, compiles
        self._models: Kept[_Held[Any]] = Kept(room, _release)
        self._upscalers: Cache[Path, _Held[Network]] = Cache(UPSCALERS_KEPT, _release)
        self._estimators: Cache[Path, _Held[Marigold]] = Cache(ESTIMATORS_KEPT, _release)

    def begin(self, working: Bytes) -> None:
        """A job begins that takes ``working`` beside the models it asks for."""
        self._models.begin(working)

    def rest(self) -> None:
        """What the present job didn't ask for lets go of its files, so that they can be deleted or replaced."""
        for held in self._models.idle():
            if not held.rests:
                own_memory(modules_of(held.loaded))
                _forget_graphs(held.loaded)
                held.lease.close()
                held.rests = True

    def make_room(self) -> bool:
        """Give back all that the present job didn't ask for, and recordings; whether there was anything."""
        found = self._models.clear(wanted_too=False) + len(self._upscalers) + len(self._estimators)
        found += sum(_forget_graphs(held.loaded) for held in self._models.values())
        self._upscalers.clear()
        self._estimators.clear()
        return found > 0

    def model(
        self,
        entry: ModelEntry,
        hooks: JobHooks,
        loras: Sequence[Wanted] = (),
        plan: Plan = Plan(),  # noqa: B008
        takes: Bytes = Bytes(),  # noqa: B008
    ) -> LoadedModel:
        """Loaded if it isn't yet; what there is no room for any more goes. With these LoRAs and no others.

        plan: how it lies in memory. takes: its weights. Raises ScumbleError MODEL_INVALID, UNSUPPORTED if it can't be
        quantized, or IN_USE while its files are being deleted or replaced; and as :meth:`.lora.Changes.make` does.
        """

        def load() -> _Held[LoadedModel]:
            hooks.progress("loading")
            with _leased(entry.path, "job.model") as stack, _there(entry, "job.model"):
                loaded = family_of(entry.family).load_model(entry, where_to_load(self._device, plan))
                if plan.storage != "plain":
                    Changes().make(loaded, loras)  # while weights are what LoRAs were made for
                settled(loaded, self._device, plan)
                if plan.is_plain:
                    accelerate(loaded, self._compiles)
                return _Held(loaded, stack.pop_all())

        held = self._models.get(_key(entry, loras, plan), takes, load)
        _wake(held, entry.path, "job.model")
        if plan.storage == "plain":
            held.changes.make(held.loaded, loras)
        model: LoadedModel = held.loaded
        lay(model, (), plan)
        return _spaced(model, loras)

    def controlnet(
        self,
        entry: ControlNetEntry,
        model: LoadedModel,
        hooks: JobHooks,
        position: int,
        plan: Plan = Plan(),  # noqa: B008
        takes: Bytes = Bytes(),  # noqa: B008
        loras: Sequence[Wanted] = (),
    ) -> LoadedControlNet:
        """The ControlNet of control number ``position``, for the model that was asked for last. Raises as :meth:`model`
        does, and MODEL_MISMATCH."""
        field = f"job.controls[{position}].model"
        owner = _key(model.entry, loras, plan)

        def load() -> _Held[LoadedControlNet]:
            hooks.progress("loading")
            with _leased(entry.path, field) as stack, _there(entry, field):
                with _blaming(field, Remedy("Remove this control", RemedyAction.REMOVE_CONTROL, str(position))):
                    loaded = family_of(entry.family).load_controlnet(entry, model)
                settled_controlnet(loaded, self._device, plan)
                if plan.is_plain:
                    accelerate_controlnet(loaded, self._device)
                return _Held(loaded, stack.pop_all())

        held = self._models.get((owner, entry.path, _stamp(entry.path)), takes, load, owner)
        _wake(held, entry.path, field)
        net: LoadedControlNet = held.loaded
        return net

    def adapter(
        self,
        entry: AdapterEntry,
        model: LoadedModel,
        hooks: JobHooks,
        position: int,
        plan: Plan = Plan(),  # noqa: B008
        takes: Bytes = Bytes(),  # noqa: B008
        loras: Sequence[Wanted] = (),
    ) -> LoadedAdapter:
        """The IP-Adapter of reference number ``position``, likewise. Raises as :meth:`controlnet` does."""
        field = f"job.references[{position}].model"
        owner = _key(model.entry, loras, plan)

        def load() -> _Held[LoadedAdapter]:
            hooks.progress("loading")
            with _leased(entry.path, field) as stack:
                with _blaming(field, _without_reference(position)):
                    loaded = load_adapter(entry, model.network.module, model.entry.name, self._device)
                settled_adapter(loaded, self._device, plan)
                return _Held(loaded, stack.pop_all())

        held = self._models.get((owner, entry.path, _stamp(entry.path)), takes, load, owner)
        _wake(held, entry.path, field)
        adapter: LoadedAdapter = held.loaded
        return adapter

    def encoder(self, entry: EncoderEntry, hooks: JobHooks, position: int, takes: Bytes = Bytes()) -> LoadedEncoder:  # noqa: B008
        """What reference number ``position`` is looked at with. Raises ScumbleError MODEL_INVALID, or IN_USE."""
        field = f"job.references[{position}].model"

        def load() -> _Held[LoadedEncoder]:
            hooks.progress("loading")
            with _leased(entry.path, field) as stack:
                with _blaming(field, _without_reference(position)):
                    loaded = load_encoder(entry, self._device)
                return _Held(loaded, stack.pop_all())

        held = self._models.get((entry.path, _stamp(entry.path)), takes, load)
        _wake(held, entry.path, field)
        encoder: LoadedEncoder = held.loaded
        return encoder

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


def _forget_graphs(loaded: object) -> int:
    """Give back what recordings of a model's steps take, which are made anew when wanted; how many there were."""
    graphs = loaded.graphs if isinstance(loaded, LoadedModel) else None
    if graphs is None:
        return 0
    count = len(graphs)
    graphs.clear()
    return count


def _key(entry: ModelEntry, loras: Sequence[Wanted], plan: Plan) -> tuple[object, ...]:
    """What is stored smaller carries its LoRAs for good."""
    changed = versions(loras) if plan.storage != "plain" else ()
    return entry.path, _stamp(entry.path), plan.storage, plan.placement, plan.text_grouped, changed


def _stamp(path: Path) -> tuple[tuple[int, int], ...]:
    """Another one if the files are replaced."""
    files = sorted([*path.glob("*.safetensors"), *path.glob("*/*.safetensors")]) if path.is_dir() else [path]
    return tuple((status.st_mtime_ns, status.st_size) for status in (file.stat() for file in files if file.exists()))


def _wake(held: _Held[Any], path: Path, field: str) -> None:
    """Its files stay as they are again. Raises ScumbleError IN_USE while they are being deleted or replaced."""
    if held.rests:
        held.lease = _leased(path, field)
        held.rests = False


def _spaced(model: LoadedModel, loras: Sequence[Wanted]) -> LoadedModel:
    """With the timesteps that the first LoRA which saves steps was trained on."""
    spacing = next((one.entry.timestep_spacing for one in loras if one.weight and one.entry.timestep_spacing), "")
    if not spacing:
        return model
    return replace(model, scheduler_config={**model.scheduler_config, "timestep_spacing": spacing})


@contextmanager
def _there(entry: ModelEntry | ControlNetEntry, field: str) -> Iterator[None]:
    """Loading fails in many ways if files were taken away since they were found, and this is what there is to say."""
    try:
        yield
    except ScumbleError as error:
        if entry.path.exists() or error.code is not ErrorCode.MODEL_INVALID:
            raise
        message = f"{entry.name} is no longer where it was found; it was moved or deleted"
        info = replace(error.info, code=ErrorCode.MODEL_MISSING, message=message, field=field)
        raise ScumbleError.from_info(info) from error


@contextmanager
def _blaming(field: str, remedy: Remedy) -> Iterator[None]:
    """Errors are about the job's ``field``."""
    try:
        yield
    except ScumbleError as error:
        raise ScumbleError.from_info(replace(error.info, field=field, remedy=remedy)) from error


def _without_reference(position: int) -> Remedy:
    return Remedy("Remove the reference", RemedyAction.REMOVE_REFERENCE, str(position))


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
