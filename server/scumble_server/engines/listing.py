"""Another program's models as capabilities: ids, kinds of ControlNets by their names, and which suits which."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scumble_shared.control_names import kinds_named
from scumble_shared.detectors import BUILT_IN_DETECTED, BUILT_IN_DETECTOR
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import CONTROL_KINDS, SAMPLERS, Control
from scumble_shared.messages import Capabilities, ControlNetInfo, DetectorInfo, LoraInfo, ModelInfo

__all__ = ["TASKS", "Listing", "Named", "named"]

TASKS = ("generate", "control_images", "project")

WORDS_OF_FAMILY = (
    ("sdxl", ("xl", "pony", "illustrious")),
    ("sd3", ("sd3",)),
    ("flux", ("flux",)),
    ("sd15", ("15", "sd1")),
)


@dataclass(frozen=True, slots=True)
class Named:
    """id: here. name: there."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the program has. samplers: of ours, those it can do."""

    program: str
    models: tuple[Named, ...] = ()
    controlnets: tuple[Named, ...] = ()
    loras: tuple[Named, ...] = ()
    samplers: tuple[str, ...] = SAMPLERS
    device: str = ""

    def capabilities(self) -> Capabilities:
        """Families are the program's own: which ControlNet goes with which model it knows better than its names say."""
        kinds = tuple(dict.fromkeys(kind for net in self.controlnets for kind in kinds_of(net.name)))
        family = self.program.lower()
        return Capabilities(
            tasks=TASKS,
            samplers=self.samplers,
            device=self.device or self.program,
            models=tuple(self._model(model, family, kinds) for model in self.models),
            controlnets=tuple(
                ControlNetInfo(net.id, net.name, family, kinds_of(net.name) or CONTROL_KINDS)
                for net in self.controlnets
            ),
            detectors=(DetectorInfo(BUILT_IN_DETECTOR, "Built-in", BUILT_IN_DETECTED),),
            loras=tuple(LoraInfo(lora.id, lora.name, family) for lora in self.loras),
        )

    def model(self, model_id: str) -> str:
        """Its name there. Raises ScumbleError MODEL_MISSING."""
        working = self.models[0].id if self.models else ""
        remedy = Remedy("Choose another model", RemedyAction.CHOOSE_MODEL, working)
        return self._found(self.models, model_id, "model", "job.model", remedy)

    def lora(self, lora_id: str, index: int) -> str:
        remedy = Remedy("Remove the LoRA", RemedyAction.REMOVE_LORA, str(index))
        return self._found(self.loras, lora_id, "LoRA", f"job.loras[{index}].model", remedy)

    def controlnet(self, control: Control, model: str, index: int) -> str:
        """Its name there; of those for a kind the one whose name goes with the model's. Raises likewise."""
        field = f"job.controls[{index}].model"
        remedy = Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, str(index))
        if control.model:
            return self._found(self.controlnets, control.model, "ControlNet", field, remedy)
        family = _family(model)
        suited = [net.name for net in self.controlnets if control.kind in kinds_of(net.name)]
        if not suited:
            message = f"{self.program} has no ControlNet whose name says {control.kind}"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)
        return next((name for name in suited if _family(name) == family), suited[0])

    def _model(self, model: Named, family: str, kinds: tuple[str, ...]) -> ModelInfo:
        large = _family(model.name) in ("sdxl", "sd3", "flux")
        side = 1024 if large else 512
        sampler = "dpmpp_2m_karras" if "dpmpp_2m_karras" in self.samplers else next(iter(self.samplers), "euler")
        if _family(model.name) in ("sd3", "flux"):
            sampler = "euler"
        guidance = {"sd3": 4.5, "flux": 1.0}.get(_family(model.name), 7.0)  # FLUX's own is built in
        return ModelInfo(model.id, model.name, family, sampler, 20, guidance, side, side, kinds, f"in {self.program}")

    def _found(self, known: Iterable[Named], wanted: str, what: str, field: str, remedy: Remedy) -> str:
        for item in known:
            if item.id == wanted:
                return item.name
        message = f"{self.program} has no {what} {wanted[:80]!r}"
        raise ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)


def named(names: Iterable[str]) -> tuple[Named, ...]:
    """An id for each of a program's names: the file's in small letters, numbered where two are alike."""
    found: dict[str, Named] = {}
    for name in names:
        stem = re.split(r"[/\\]", re.sub(r" \[[0-9a-f]{6,10}\]$", "", name))[-1]
        slug = re.sub(r"\.(safetensors|ckpt|pt|pth|bin|sft|gguf)$", "", stem, flags=re.IGNORECASE)
        base = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:60] or "model"
        unique, count = base, 1
        while unique in found:
            count += 1
            unique = f"{base}-{count}"
        found[unique] = Named(unique, name)
    return tuple(found.values())


def kinds_of(name: str) -> tuple[str, ...]:
    """Control kinds that a ControlNet's name tells; a union's are all of them."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & {"union", "promax"}:
        return CONTROL_KINDS
    return kinds_named(name)


def _family(name: str) -> str:
    text = name.lower()
    return next((family for family, words in WORDS_OF_FAMILY if any(word in text for word in words)), "sd15")
