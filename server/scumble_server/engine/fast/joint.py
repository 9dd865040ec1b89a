"""A network and its ControlNets as one function of tensors: what a graph can be made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..denoise import Residuals, Step, sum_residuals
from ..extensions.controls import ControlRun
from ..families.unet import UNet
from ..family import FamilyNetwork, Shown
from .graphs import weights_of
from .saving import Work
from .streams import side_by_side
from .tensors import Given, Made
from .unet import Halfway, UNetHalves, can_be_halved

__all__ = ["Joint", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step's work is, beside its tensors. acting: which ControlNets run. keeps: later steps want what it made.
    guidance: the scale, for networks that take it as an input. variant: what else their doing depends on."""

    work: Work
    acting: tuple[int, ...]
    keeps: bool
    guidance: float | None
    variant: object = None


@dataclass(frozen=True, slots=True)
class Joint:
    """network: of a family. runs: its ControlNets with what they are shown. device: of both.

    down, up, outermost: a UNet's parts (:class:`.unet.UNetHalves`) if it has them, as they are or compiled; controls:
    of each ControlNet its ``run``, likewise. Nothing here asks the device for a value, and all that changes from step
    to step or from job to job is a tensor: neither strength nor prompt nor timestep is built in. key: equal for equal
    modules with their weights in the same places; what is done to weights in place needs nothing new.
    """

    network: FamilyNetwork
    device: torch.device
    key: Hashable
    kinds: Sequence[Sequence[str]]
    controls: Sequence[Callable[[Step, Sequence[Shown]], Residuals]]
    down: Callable[..., Halfway] | None
    up: Callable[..., tuple[Tensor, Tensor]] | None
    outermost: Callable[..., Tensor] | None

    @classmethod
    def of(cls, network: FamilyNetwork, runs: Sequence[ControlRun], device: torch.device) -> Joint:
        kinds = tuple(tuple(control.kind for control in run.controls) for run in runs)
        modules = [network.module, *(run.controlnet.net for run in runs)]
        places = tuple(weight.data_ptr() for module in modules for weight in weights_of(module))
        key = (tuple(map(id, modules)), kinds, hash(places))
        controls = [run.controlnet.run for run in runs]
        if isinstance(network, UNet) and can_be_halved(network.module):
            halves = UNetHalves(network.module)
            return cls(network, device, key, kinds, controls, halves.down, halves.up, halves.outermost)
        return cls(network, device, key, kinds, controls, None, None, None)

    def __call__(self, given: Given, like: Step, plan: Plan) -> Made:
        """like: a step that is right in all that isn't a tensor."""
        step = replace(
            like, model_input=given.model_input, timestep=given.timestep, text=given.text, pooled=given.pooled
        )
        if self.down is None or self.up is None or self.outermost is None:
            return self._in_one(step, given, plan)
        assert isinstance(self.network, UNet), "only UNets have halves"
        arguments = self.network.arguments(step, given.appended)
        if not plan.work.deep:
            return Made(self.outermost(**arguments, deep=given.deep, residuals=given.residuals))
        halfway, found = side_by_side(self.device, partial(self.down, **arguments), self._runs(step, given, plan))
        residuals = tuple(self._summed(found, given, plan))
        if self.controls and not residuals:
            # A ControlNet that pauses adds nothing; so that what was compiled goes for all steps, it adds zeros.
            residuals = tuple(torch.zeros_like(part) for part in (*halfway.skips, halfway.sample))
        prediction, deep = self.up(halfway, residuals)
        return Made(prediction, residuals, deep) if plan.keeps else Made(prediction)

    def _in_one(self, step: Step, given: Given, plan: Plan) -> Made:
        found = side_by_side(self.device, lambda: None, self._runs(step, given, plan))[1]
        residuals = tuple(self._summed(found, given, plan))
        prediction = self.network.predict(step, given.appended, Residuals(residuals) if residuals else None)
        return Made(prediction, residuals) if plan.keeps else Made(prediction)

    def _runs(self, step: Step, given: Given, plan: Plan) -> list[Callable[[], Residuals]]:
        if not plan.work.controls:
            return []
        return [partial(self.controls[index], step, self._shown(index, given)) for index in plan.acting]

    def _shown(self, index: int, given: Given) -> list[Shown]:
        each = zip(self.kinds[index], given.conditions[index], given.strengths[index], strict=True)
        return [Shown(kind, condition, strength) for kind, condition, strength in each]

    def _summed(self, found: Sequence[Residuals], given: Given, plan: Plan) -> Sequence[Tensor | None]:
        if not plan.work.controls:
            return given.residuals
        total = sum_residuals(found)
        return () if total is None else total.parts
