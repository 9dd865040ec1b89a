"""What a job needs of the models that are there: looked up by id, checked against each other, and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import GenerateJob, TextureJob, UpscaleJob

from ..models.entries import AdapterEntry, ControlNetEntry, ModelEntry
from ..models.families import family_name, usual
from ..models.index import ModelIndex
from ..service import JobHooks
from .family import LoadedControlNet, LoadedModel
from .lora import Wanted
from .memory.fit import Fit
from .memory.laying import lay
from .references import LoadedAdapter
from .resident import ResidentModels

__all__ = ["Needed"]


@dataclass(frozen=True, slots=True)
class Needed:
    """A model with its ControlNets, LoRAs and IP-Adapters, in the order of the job's controls, LoRAs and references."""

    entry: ModelEntry
    nets: Sequence[ControlNetEntry]
    loras: Sequence[Wanted]
    adapters: Sequence[AdapterEntry] = ()

    @classmethod
    def of(cls, index: ModelIndex, job: GenerateJob | TextureJob | UpscaleJob) -> Needed:
        """Raises ScumbleError as the index does, and UNSUPPORTED for what the model's family can't do."""
        entry = index.model(job.model)
        _check(job, entry)
        nets = [index.controlnet(c.model, c.kind, entry, i) for i, c in enumerate(job.controls)]
        loras = [Wanted(index.lora(one.model, entry, i), one.weight, i) for i, one in enumerate(job.loras)]
        adapters = [index.adapter(one.model, entry, i) for i, one in enumerate(job.references)]
        return cls(entry, nets, loras, adapters)

    def load(
        self, resident: ResidentModels, hooks: JobHooks, fit: Fit
    ) -> tuple[LoadedModel, list[LoadedControlNet], list[LoadedAdapter]]:
        """As ``fit`` wants them. Raises ScumbleError as :class:`.resident.ResidentModels` does."""
        resident.begin(fit.working)
        takes = dict(zip(dict.fromkeys(self.nets), fit.nets, strict=True))
        model = resident.model(self.entry, hooks, self.loras, fit.plan, fit.model)
        nets = [
            resident.controlnet(net, model, hooks, i, fit.plan, takes[net], self.loras)
            for i, net in enumerate(self.nets)
        ]
        weights = dict(zip(dict.fromkeys(self.adapters), fit.adapters, strict=True))
        adapters = [
            resident.adapter(one, model, hooks, i, fit.plan, weights[one], self.loras)
            for i, one in enumerate(self.adapters)
        ]
        lay(model, nets, fit.plan, adapters)
        resident.rest()
        return model, nets, adapters

    def provenance(self) -> dict[str, object]:
        return {
            "model": self.entry.name,
            "controlnets": [net.name for net in self.nets],
            "loras": [{"name": one.entry.name, "weight": one.weight} for one in self.loras],
            **({"adapters": [one.name for one in self.adapters]} if self.adapters else {}),
        }


def _check(job: GenerateJob | TextureJob | UpscaleJob, entry: ModelEntry) -> None:
    """Before anything is loaded."""
    facts = usual(entry.family)
    if job.sampler not in facts.samplers:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{entry.name} can't be sampled with {job.sampler[:80]!r}; there are {', '.join(facts.samplers)}",
            field="job.sampler",
            remedy=Remedy(f"Use {entry.sampler}"),
        )
    if not isinstance(job, TextureJob) and job.tiling and not facts.can_tile:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"{family_name(entry.family)} knows where each pixel lies, so its pictures can't repeat without a seam",
            field="job.tiling",
            remedy=Remedy("Use a model of another family, Stable Diffusion 1.5 or SDXL"),
        )
