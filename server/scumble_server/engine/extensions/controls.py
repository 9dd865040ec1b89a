"""ControlNets in the loop: strength, the part of the steps they act in, and each image embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scumble_shared.tensor import AnyArray, digest_of

from ..denoise import Extension, Residuals, Step, sum_residuals
from ..family import LoadedControlNet, Shown
from ..seamless import tiling_now

__all__ = ["ActiveControl", "ControlRun", "Controls"]


@dataclass(frozen=True, slots=True)
class ActiveControl:
    """image: uint8 H x W x 3, as large as what is generated, or B x H x W x 3, one for each of a batch.
    strength, start, end, kind: see scumble_shared.job.Control."""

    controlnet: LoadedControlNet
    image: AnyArray
    strength: float
    start: float
    end: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ControlRun:
    """Controls that are shown to one ControlNet together, and what it embeds their images as."""

    controlnet: LoadedControlNet
    controls: Sequence[ActiveControl]
    conditions: Sequence[torch.Tensor]

    def acts(self, step: Step) -> bool:
        return any(_acts(control, step) for control in self.controls)

    def shown(self, step: Step) -> list[Shown]:
        """What the ControlNet looks at in this step, with strength 0 for controls that don't act in it."""
        return [
            Shown(control.kind, _for_batch(condition, step), control.strength if _acts(control, step) else 0.0)
            for control, condition in zip(self.controls, self.conditions, strict=True)
        ]

    def residuals(self, step: Step) -> Residuals:
        return self.controlnet.run(step, self.shown(step))


class Controls(Extension):
    """Sums the residuals of all controls that act in a step.

    Outside its part a ControlNet isn't run and zeros stand for what it adds, so the network always gets the same inputs
    (one graph, where it is compiled).
    """

    def __init__(self, controls: Sequence[ActiveControl]) -> None:
        acting = [control for control in controls if control.strength != 0.0]
        self.runs = [_run(group) for group in _together(acting)]
        self._zeros: Residuals | None = None

    def residuals(self, step: Step) -> Residuals | None:
        acting = [run for run in self.runs if run.acts(step)]
        if not acting and self.runs:
            if self._zeros is None:
                self._zeros = _zeros_like(self.runs[0].residuals(step))
            return self._zeros
        return sum_residuals([run.residuals(step) for run in acting])


def _together(controls: Sequence[ActiveControl]) -> list[list[ActiveControl]]:
    """In order; those of one ControlNet that takes several with the first of them."""
    groups: list[list[ActiveControl]] = []
    for control in controls:
        same = [group for group in groups if group[0].controlnet is control.controlnet]
        if same and control.controlnet.takes_several:
            same[0].append(control)
        else:
            groups.append([control])
    return groups


def _run(controls: Sequence[ActiveControl]) -> ControlRun:
    return ControlRun(controls[0].controlnet, controls, [_condition(control) for control in controls])


def _for_batch(condition: torch.Tensor, step: Step) -> torch.Tensor:
    if len(condition) == 1:
        return condition
    chosen = condition[step.images]
    return chosen.repeat(step.model_input.shape[0] // len(chosen), *[1] * (condition.ndim - 1))


def _acts(control: ActiveControl, step: Step) -> bool:
    """As diffusers decides it: a step counts if it lies within the part as a whole."""
    return step.index / step.count >= control.start and (step.index + 1) / step.count <= control.end


def _zeros_like(residuals: Residuals) -> Residuals:
    return Residuals([None if part is None else torch.zeros_like(part) for part in residuals.parts])


@torch.inference_mode()
def _condition(control: ActiveControl) -> torch.Tensor:
    """The image as the ControlNet embeds it, 1 or V x ... A single one is kept: live mode sends the same picture many
    times."""
    controlnet, image, kind = control.controlnet, control.image, control.kind
    if image.ndim == 4:
        return torch.cat([controlnet.condition(one, kind) for one in image])
    return controlnet.conditions.get(digest_of(image) + kind + tiling_now(), lambda: controlnet.condition(image, kind))
