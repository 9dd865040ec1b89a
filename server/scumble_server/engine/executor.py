"""The engine as the worker process sees it: jobs in, outputs out, models kept between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import (
    DEFAULT_MODEL,
    Control,
    ControlImagesJob,
    GenerateJob,
    Job,
    ProjectJob,
    TextureJob,
    UpscaleJob,
)
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from ..memory.machine import Machine
from ..models.index import ModelIndex
from ..models.scan import scan
from ..service import JobHooks, Output
from ..texturing.maps.estimate import Appearance
from ..texturing.maps.job import Teller, maps_of_pictures
from .cache import Cache
from .conditioning import view_buffers
from .control_pictures import KEPT, ControlPictures, Detected, Shown, control_pictures
from .detectors import Detectors
from .device import resolve_device
from .extensions.controls import ActiveControl
from .family import LoadedModel
from .generate import Timings, canvas_of, generate
from .memory.descent import descend, is_out_of_memory
from .memory.fit import Fit
from .memory.fitting import Fitter
from .memory.probe import probe
from .needed import Needed
from .references import LoadedAdapter, LoadedEncoder, Seen, attending, prepared
from .references.prepare import Placed
from .resident import ResidentModels

__all__ = ["EngineExecutor"]

Found = TypeVar("Found")


class EngineExecutor:
    """Implements :class:`scumble_server.service.Executor` for one device. One call at a time.

    model_dirs: searched for models besides the built-in one. device: see :func:`.device.resolve_device`.
    compiles: on CUDA, kernels are made for each model and size in the background. machine: what memory there is; None
    asks the device.
    """

    def __init__(
        self,
        model_dirs: tuple[Path, ...] = (),
        device: str = "auto",
        compiles: bool = False,
        machine: Machine | None = None,
    ) -> None:
        self._device = resolve_device(device)
        self._model_dirs = model_dirs
        self._index = scan(model_dirs)
        self._machine = probe(self._device) if machine is None else machine
        self._fitter = Fitter(self._machine, self._device)
        self._detectors = Detectors(self._device)
        self._found: Cache[tuple[object, ...], AnyArray] = Cache(KEPT)
        self._resident = ResidentModels(self._device, compiles, self._machine.room)

    def capabilities(self) -> Capabilities:
        return self._index.capabilities(self._device.label)

    def look_for_models(self) -> None:
        self._index = scan(self._model_dirs)
        self._fitter = Fitter(self._machine, self._device)  # files of the same name may be others now

    def warm_up(self, hooks: JobHooks) -> None:
        """Load the built-in model and run it once at its smallest, so that first-time costs are paid."""
        entry = self._index.model(DEFAULT_MODEL)
        controls = tuple(Control(kind, image="black") for kind in entry.controlnets)
        job = GenerateJob("", width=64, height=64, num_inference_steps=1, sampler=entry.sampler, controls=controls)
        self.run(job, {"black": torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()}, hooks)

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        hooks.check_cancelled()
        with _out_of_memory(job):
            if isinstance(job, ControlImagesJob):
                return self._control_images(job, tensors, hooks)
            if isinstance(job, ProjectJob):
                return self._project(job, tensors, hooks)
            return self._fitted(job, tensors, hooks)

    def _fitted(
        self, job: GenerateJob | TextureJob | UpscaleJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks
    ) -> Output:
        """With a model, in the memory there is. What can't be is refused before anything is loaded."""
        if isinstance(job, UpscaleJob) and not _paints(job):
            return self._upscale(job, tensors, hooks, None, None)
        needed = self._needed(job)

        def work(fit: Fit) -> Output:
            if isinstance(job, GenerateJob):
                return self._generate(job, tensors, hooks, needed, fit)
            if isinstance(job, TextureJob):
                return self._texture(job, tensors, hooks, needed, fit)
            return self._upscale(job, tensors, hooks, needed, fit)

        fit = self._fitter.fit(needed, job)
        lower = _nothing if job.memory == "off" else self._fitter.lower
        return descend(fit, work, lower, self._make_room, hooks)

    def _make_room(self) -> bool:
        found = self._detectors.clear()
        return self._resident.make_room() or found

    def _generate(
        self, job: GenerateJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks, needed: Needed, fit: Fit
    ) -> Output:
        timings = Timings()
        with timings.stage("conditioning"):
            pictures = self._pictures(job, tensors, hooks, job.width, job.height)
        with timings.stage("loading"):
            teller = self._teller(job, hooks)
            model, loaded, adapters = needed.load(self._resident, hooks, fit)
        with timings.stage("conditioning"):
            whole = canvas_of(job, model)
            controls = [
                ActiveControl(net, whole.filled(image), control.strength, control.start, control.end, control.kind)
                for net, image, control in zip(loaded, pictures.shown, job.controls, strict=True)
            ]
            frame = job.width, job.height
            seen = self._seen(job, model, adapters, tensors, hooks, fit, frame, whole.filled)
        hooks.check_cancelled()
        with attending(model, seen):
            results = generate(job, model, controls, tensors, hooks, timings)
        made: dict[str, AnyArray] = {f"image/{index}": image for index, image in enumerate(results)}
        facts: dict[str, object] = {}
        if job.maps:
            with timings.stage("maps"):
                maps, facts = maps_of_pictures(job, results, teller, hooks)
                made |= maps
        return Output(made, {**needed.provenance(), **pictures.facts, **self._circumstances(timings, model), **facts})

    def _texture(
        self, job: TextureJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks, needed: Needed, fit: Fit
    ) -> Output:
        from .texture import Loaded, texture

        timings = Timings()
        teller = self._teller(job, hooks)
        models: list[LoadedModel] = []

        # Geometry needs float64, which Apple's GPUs don't have.
        device = self._device.torch_device if self._device.torch_device.type == "cuda" else torch.device("cpu")
        with ExitStack() as stack:

            def load() -> Loaded:
                model, nets, adapters = needed.load(self._resident, hooks, fit)
                models.append(model)
                seen = self._seen(job, model, adapters, tensors, hooks, fit)
                stack.enter_context(attending(model, seen))
                return Loaded(model, nets)

            results, facts = texture(job, tensors, load, device, hooks, timings, teller)
        return Output(
            results, {**needed.provenance(), **self._circumstances(timings, models[0] if models else None), **facts}
        )

    def _upscale(
        self,
        job: UpscaleJob,
        tensors: Mapping[Digest, AnyArray],
        hooks: JobHooks,
        needed: Needed | None,
        fit: Fit | None,
    ) -> Output:
        from .canvas import filling
        from .upscale import Means, check_picture, upscale

        timings, means, used, seen = Timings(), Means(), dict[str, object](), list[Seen]()
        height, width = (side * job.factor for side in check_picture(tensors[job.image]).shape[:2])
        with timings.stage("loading"):
            if job.upscaler and job.method != "lanczos":
                upscaler = self._known(lambda index: index.upscaler(job.upscaler))
                means, used = (
                    replace(means, network=self._resident.upscaler(upscaler, hooks)),
                    {"upscaler": upscaler.name},
                )
            if needed is not None and fit is not None:
                pictures = self._pictures(job, tensors, hooks, width, height)
                model, loaded, adapters = needed.load(self._resident, hooks, fit)
                means = replace(means, model=model, controls=list(zip(loaded, pictures.images, strict=True)))
                used |= {**needed.provenance(), **pictures.facts}
                whole = filling(width, height, model.multiple, job.tiling)
                seen = self._seen(job, model, adapters, tensors, hooks, fit, (width, height), whole.filled)
        with attending(means.model, seen) if means.model is not None else nullcontext():
            image = upscale(job, tensors, means, self._device.torch_device, hooks, timings)
        return Output({"image/0": image}, {**used, **self._circumstances(timings, means.model)})

    def _seen(
        self,
        job: GenerateJob | TextureJob | UpscaleJob,
        model: LoadedModel,
        adapters: Sequence[LoadedAdapter],
        tensors: Mapping[Digest, AnyArray],
        hooks: JobHooks,
        fit: Fit,
        frame: tuple[int, int] = (1, 1),
        placed: Placed = np.asarray,
    ) -> list[Seen]:
        """The job's reference pictures, looked at. frame, placed: for masks; see :func:`.references.prepared`."""

        def encoder(position: int) -> LoadedEncoder:
            entry = adapters[position].entry.encoder
            assert entry is not None, "the index gives none without"
            hooks.check_cancelled()
            hooks.progress("looking at references")
            model.room.show("text")  # the network makes room for it, where parts come and go
            return self._resident.encoder(entry, hooks, position, fit.encoder)

        return prepared(job.references, adapters, encoder, tensors, frame, placed)

    def _circumstances(self, timings: Timings, model: LoadedModel | None) -> dict[str, object]:
        return {
            **({"memory": list(model.room.told)} if model is not None else {}),
            "device": self._device.label,
            "dtype": str(self._device.dtype).removeprefix("torch."),
            "versions": {"scumble": __version__, "torch": torch.__version__, "diffusers": version("diffusers")},
            "timings": timings.rounded(),
        }

    def _needed(self, job: GenerateJob | TextureJob | UpscaleJob) -> Needed:
        return self._known(lambda index: Needed.of(index, job))

    def _teller(self, job: GenerateJob | ProjectJob | TextureJob, hooks: JobHooks) -> Teller | None:
        """Who makes the job's maps, but for the built-in estimator; loaded when it is asked."""
        entry = self._known(lambda index: index.estimator(job.map_estimator))
        if entry is None or not set(job.maps) & set(entry.maps):
            return None

        def appearances(pictures: Sequence[AnyArray]) -> list[Appearance]:
            return self._resident.estimator(entry, hooks).appearances(pictures, hooks)

        return Teller(entry.id, entry.maps, appearances)

    def _known(self, find: Callable[[ModelIndex], Found]) -> Found:
        """What isn't known may have come since, so the folders are looked through."""
        try:
            return find(self._index)
        except ScumbleError as error:
            if error.code != ErrorCode.MODEL_MISSING:
                raise
            self.look_for_models()
            return find(self._index)

    def _control_images(self, job: ControlImagesJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        pictures = self._pictures(job, tensors, hooks, job.width, job.height)
        made = {f"control/{index}": image for index, image in enumerate(pictures.shown)}
        return Output(made, pictures.facts)

    def _pictures(
        self,
        job: GenerateJob | ControlImagesJob | UpscaleJob,
        tensors: Mapping[Digest, AnyArray],
        hooks: JobHooks,
        width: int,
        height: int,
    ) -> ControlPictures:
        """What the job's controls show. Made before anything is loaded that paints."""

        def detect(control: Control, number: int, picture: AnyArray, size: tuple[int, int]) -> Detected:
            entry = self._known(lambda index: index.detector(control, number))
            people = self._index.people_finder()
            return Detected(self._detectors.control(entry, number, picture, size, hooks, people), entry.name)

        view = None if job.view is None else view_buffers(job.view, tensors)
        if isinstance(job, UpscaleJob):  # which shows "tile" what there is to be enlarged, part by part
            shown = Shown(tensors, detect, view, job.image, "job.image", ("tile",), self._found)
        else:
            shown = Shown(tensors, detect, view, job.init_image, kept=self._found)
        return control_pictures(job.controls, shown, width, height)

    def _project(self, job: ProjectJob, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        from ..texturing.project import run_project

        return run_project(job, tensors, self._device.torch_device, hooks, self._teller(job, hooks))


def _paints(job: UpscaleJob) -> bool:
    """Whether it needs a model."""
    return job.method == "diffusion" and job.denoising_strength > 0.0


def _nothing(fit: Fit) -> None:
    """There is no lower way."""


@contextmanager
def _out_of_memory(job: Job) -> Iterator[None]:
    """The device's complaint as an error with a size that is likelier to fit."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _memory_error(job) from error


def _memory_error(job: Job) -> ScumbleError:
    remedy = None
    if isinstance(job, GenerateJob):
        width, height = (max(64, int(side * 0.7) // 64 * 64) for side in (job.width, job.height))
        remedy = Remedy(f"Generate {width} x {height} instead", RemedyAction.REDUCE_SIZE, f"{width}x{height}")
    elif isinstance(job, TextureJob):
        camera = job.views[0].camera if job.views else None
        sides = (job.view_size, job.view_size) if camera is None else (camera.width, camera.height)
        width, height = (max(64, int(side * 0.7) // 64 * 64) for side in sides)
        remedy = Remedy(f"Use views of {width} x {height}", RemedyAction.REDUCE_SIZE, f"{width}x{height}")
    return ScumbleError(
        ErrorCode.OUT_OF_MEMORY, "the device ran out of memory; the server goes on", retryable=True, remedy=remedy
    )
