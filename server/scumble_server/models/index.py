"""All models and ControlNets the server may use, by id. Clients name ids, never paths; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scumble_shared.detectors import AUTO_DETECTOR, BUILT_IN_DETECTED, BUILT_IN_DETECTOR
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import BUILT_IN_ESTIMATOR, CONTROL_KINDS, MAPS, SAMPLERS, Control
from scumble_shared.messages import (
    AdapterInfo,
    Capabilities,
    ControlNetInfo,
    DetectorInfo,
    LoraInfo,
    MapEstimatorInfo,
    ModelInfo,
    UnusableModel,
    UpscalerInfo,
)
from scumble_shared.validate_controls import no_detector

from .entries import (
    AdapterEntry,
    ControlNetEntry,
    DetectorEntry,
    EncoderEntry,
    EstimatorEntry,
    LoraEntry,
    ModelEntry,
    UnusableEntry,
    UpscalerEntry,
)
from .families import family_name, usual

__all__ = ["TASKS", "ModelIndex"]

BIG_G = "CLIP ViT-bigG (sdxl_models/image_encoder of h94/IP-Adapter)"
VIT_H = "CLIP ViT-H (models/image_encoder of h94/IP-Adapter; scumble download ip-adapter-encoder)"
ENCODERS = {("projection", 1024): VIT_H, ("hidden", 1280): VIT_H, ("projection", 1280): BIG_G, ("hidden", 1664): BIG_G}
"""What an IP-Adapter reads, and how wide that is -> the image encoder."""

TASKS = ("generate", "control_images", "project", "texture", "upscale")


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """A snapshot of what was found. Ids are unique over all groups together."""

    models: tuple[ModelEntry, ...] = ()
    controlnets: tuple[ControlNetEntry, ...] = ()
    unusable: tuple[UnusableEntry, ...] = ()
    upscalers: tuple[UpscalerEntry, ...] = ()
    estimators: tuple[EstimatorEntry, ...] = ()
    loras: tuple[LoraEntry, ...] = ()
    adapters: tuple[AdapterEntry, ...] = ()
    encoders: tuple[EncoderEntry, ...] = ()
    detectors: tuple[DetectorEntry, ...] = ()

    def capabilities(self, device: str) -> Capabilities:
        """What clients are told. device: how the worker's device is called, "" while it isn't known."""
        return Capabilities(
            tasks=TASKS,
            samplers=SAMPLERS,
            device=device,
            models=tuple(self._info(model) for model in self.models),
            controlnets=tuple(ControlNetInfo(c.id, c.name, c.family, c.kinds) for c in self.controlnets),
            unusable=tuple(UnusableModel(entry.id, entry.name, entry.reason) for entry in self.unusable),
            upscalers=tuple(UpscalerInfo(entry.id, entry.name) for entry in self.upscalers),
            map_estimators=(
                MapEstimatorInfo(BUILT_IN_ESTIMATOR, "Built-in", MAPS),
                *(MapEstimatorInfo(entry.id, entry.name, entry.maps) for entry in self.estimators),
            ),
            detectors=(
                DetectorInfo(BUILT_IN_DETECTOR, "Built-in", BUILT_IN_DETECTED),
                *(DetectorInfo(one.id, one.name, (one.kind,)) for one in self.detectors if one.kind != "people"),
            ),
            loras=tuple(_lora_info(entry) for entry in self.loras),
            adapters=tuple(AdapterInfo(entry.id, entry.name, entry.family) for entry in self._by_use()),
        )

    def model(self, model_id: str) -> ModelEntry:
        """Raises ScumbleError MODEL_MISSING or MODEL_INVALID."""
        for model in self.models:
            if model.id == model_id:
                return model
        working = self.models[0].id if self.models else ""
        remedy = Remedy("Choose another model", RemedyAction.CHOOSE_MODEL, working)
        raise self._no_such(model_id, "model", "job.model", remedy)

    def controlnet(self, controlnet_id: str, kind: str, model: ModelEntry, position: int) -> ControlNetEntry:
        """The ControlNet of control number ``position``; "" is the one that suits ``model`` and ``kind``.

        Raises ScumbleError MODEL_MISSING, MODEL_INVALID or MODEL_MISMATCH.
        """
        field = f"job.controls[{position}].model"
        remedy = Remedy("Remove this control", RemedyAction.REMOVE_CONTROL, str(position))
        if not controlnet_id:
            if found := self._for_kind(model, kind):
                return found
            message = f"there is no {kind} ControlNet for {model.name}"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)
        for entry in self.controlnets:
            if entry.id == controlnet_id:
                if entry.family == model.family:
                    return entry
                raise ScumbleError(
                    ErrorCode.MODEL_MISMATCH,
                    f"{entry.name} is a ControlNet for {family_name(entry.family)} and can't steer {model.name}, "
                    f"which is {family_name(model.family)}",
                    field=field,
                    remedy=remedy,
                )
        raise self._no_such(controlnet_id, "ControlNet", field, remedy)

    def lora(self, lora_id: str, model: ModelEntry, position: int) -> LoraEntry:
        """LoRA number ``position`` of a job. Raises ScumbleError MODEL_MISSING, MODEL_INVALID or MODEL_MISMATCH."""
        field = f"job.loras[{position}].model"
        remedy = Remedy("Remove the LoRA", RemedyAction.REMOVE_LORA, str(position))
        for entry in self.loras:
            if entry.id == lora_id:
                if entry.family == model.family:
                    return entry
                raise ScumbleError(
                    ErrorCode.MODEL_MISMATCH,
                    f"{entry.name} is a LoRA for {family_name(entry.family)} and can't change {model.name}, "
                    f"which is {family_name(model.family)}",
                    field=field,
                    remedy=remedy,
                )
        raise self._no_such(lora_id, "LoRA", field, remedy)

    def adapter(self, adapter_id: str, model: ModelEntry, position: int) -> AdapterEntry:
        """The IP-Adapter of reference number ``position``, with its encoder; "" is the one that suits ``model``.

        Raises ScumbleError UNSUPPORTED for families that have none, MODEL_MISSING, MODEL_INVALID or MODEL_MISMATCH.
        """
        field = f"job.references[{position}].model"
        remedy = Remedy("Remove the reference", RemedyAction.REMOVE_REFERENCE, str(position))
        family = family_name(model.family)
        if not usual(model.family).takes_references:
            message = f"{family} can't be shown reference pictures here; models of Stable Diffusion 1.5 and SDXL can"
            raise ScumbleError(ErrorCode.UNSUPPORTED, message, field=field, remedy=remedy)
        entry = next((one for one in self._by_use() if adapter_id in (one.id, "") and one.family == model.family), None)
        if entry is None and not adapter_id:
            message = f"there is no IP-Adapter for {family}, which reference pictures need"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)
        if entry is None:
            other = next((one for one in self.adapters if one.id == adapter_id), None)
            if other is None:
                raise self._no_such(adapter_id, "IP-Adapter", field, remedy)
            message = f"{other.name} is an IP-Adapter for {family_name(other.family)}; {model.name} is {family}"
            raise ScumbleError(ErrorCode.MODEL_MISMATCH, message, field=field, remedy=remedy)
        if entry.encoder is None:
            message = f"the image encoder is missing that {entry.name} looks at pictures with ({entry.width} wide)"
            how = Remedy(f"Put {ENCODERS.get((entry.reads, entry.width), 'its image_encoder folder')} beside it")
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=how)
        return entry

    def upscaler(self, upscaler_id: str) -> UpscalerEntry:
        """Raises ScumbleError MODEL_MISSING or MODEL_INVALID."""
        for entry in self.upscalers:
            if entry.id == upscaler_id:
                return entry
        raise self._no_such(upscaler_id, "upscaler", "job.upscaler", Remedy("Choose another way to enlarge"))

    def estimator(self, estimator_id: str) -> EstimatorEntry | None:
        """None for the built-in one. Raises ScumbleError MODEL_MISSING or MODEL_INVALID."""
        if estimator_id == BUILT_IN_ESTIMATOR:
            return None
        for entry in self.estimators:
            if entry.id == estimator_id:
                return entry
        remedy = Remedy("Use the built-in estimator")
        raise self._no_such(estimator_id, "estimator of maps", "job.map_estimator", remedy)

    def detector(self, control: Control, position: int) -> DetectorEntry:
        """What makes the control image of control number ``position``, which isn't the built-in one's.

        Raises ScumbleError MODEL_MISSING, MODEL_INVALID or MODEL_MISMATCH.
        """
        path = f"job.controls[{position}]"
        able = [entry for entry in self.detectors if entry.kind == control.kind]
        found = next((entry for entry in able if control.detector in (AUTO_DETECTOR, entry.id)), None)
        if found is not None:
            return found
        if control.detector in (AUTO_DETECTOR, BUILT_IN_DETECTOR):
            raise no_detector(control.kind, path)
        remedy, field = Remedy("Let it be chosen"), f"{path}.detector"
        other = next((entry for entry in self.detectors if entry.id == control.detector), None)
        if other is None:
            raise self._no_such(control.detector, "detector", field, remedy)
        message = f"{other.name} makes {other.kind} controls, not {control.kind}"
        raise ScumbleError(ErrorCode.MODEL_MISMATCH, message, field=field, remedy=remedy)

    def people_finder(self) -> DetectorEntry | None:
        """What finds the people whose poses are wanted; None if there is nothing, and a picture is one person's."""
        return next((entry for entry in self.detectors if entry.kind == "people"), None)

    def _info(self, model: ModelEntry) -> ModelInfo:
        return ModelInfo(
            id=model.id,
            name=model.name,
            family=model.family,
            sampler=model.sampler,
            num_inference_steps=model.num_inference_steps,
            guidance_scale=model.guidance_scale,
            width=model.width,
            height=model.height,
            control_kinds=tuple(kind for kind in CONTROL_KINDS if self._for_kind(model, kind)),
            note=model.note,
            samplers=usual(model.family).samplers,
            takes_references=usual(model.family).takes_references,
        )

    def _by_use(self) -> Sequence[AdapterEntry]:
        """Those that have their encoder first, of them those that don't only look at faces."""
        return sorted(self.adapters, key=lambda one: (one.encoder is None, "face" in one.name.lower()))

    def _for_kind(self, model: ModelEntry, kind: str) -> ControlNetEntry | None:
        if kind in model.controlnets:
            return model.controlnets[kind]
        suitable = (c for c in self.controlnets if c.family == model.family and kind in c.kinds)
        return next(suitable, None)

    def _no_such(self, wanted: str, what: str, field: str, remedy: Remedy) -> ScumbleError:
        for entry in self.unusable:
            if entry.id == wanted:
                message = f"{entry.name} can't be used: {entry.reason}"
                return ScumbleError(ErrorCode.MODEL_INVALID, message, field=field, remedy=remedy)
        message = f"this server has no {what} {wanted[:80]!r}"
        return ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)


def _lora_info(entry: LoraEntry) -> LoraInfo:
    steps, guidance = entry.num_inference_steps, entry.guidance_scale
    return LoraInfo(entry.id, entry.name, entry.family, entry.weight, entry.sampler, steps, guidance)
