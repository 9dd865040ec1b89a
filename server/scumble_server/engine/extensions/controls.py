"""ControlNets in the loop: strength, the part of the steps they act in, and each image embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scumble_shared.tensor import AnyArray, digest_of

from ..denoise import Extension, Residuals, Step, sum_tensors
from ..family import LoadedControlNet
from ..seamless import tiling_now

__all__ = ["ActiveControl", "Controls"]


@dataclass(frozen=True, slots=True)
class ActiveControl:
    """image: uint8 H x W x 3, as large as what is generated, or B x H x W x 3, one for each of a batch.
    strength, start, end: see scumble_shared.job.Control."""

    controlnet: LoadedControlNet
    image: AnyArray
    strength: float
    start: float
    end: float


class Controls(Extension):
    """Sums the residuals of all controls that act in a step.

    Outside its part a ControlNet isn't run and zeros stand for what it adds, so the UNet always gets the same inputs
    (one graph, where it is compiled).
    """

    def __init__(self, controls: Sequence[ActiveControl]) -> None:
        self._controls = [control for control in controls if control.strength != 0.0]
        self._conditions = [_condition(control) for control in self._controls]
        self._zeros: Residuals | None = None

    def residuals(self, step: Step) -> Residuals | None:
        acting = [index for index, control in enumerate(self._controls) if _acts(control, step)]
        if not acting and self._controls:
            if self._zeros is None:
                self._zeros = _zeros_like(self._run(0, step))
            return self._zeros
        results = [self._run(index, step) for index in acting]
        if len(results) <= 1:
            return results[0] if results else None
        down = [sum_tensors(parts) for parts in zip(*(result.down for result in results), strict=True)]
        return Residuals(down, sum_tensors([result.mid for result in results]))

    def _run(self, index: int, step: Step) -> Residuals:
        control, condition = self._controls[index], self._conditions[index]
        if len(condition) > 1:
            chosen = condition[step.images]
            condition = chosen.repeat(step.model_input.shape[0] // len(chosen), 1, 1, 1)
        down, mid = control.controlnet.net(
            step.model_input,
            step.timestep,
            encoder_hidden_states=step.text,
            controlnet_cond=condition,
            conditioning_scale=control.strength,
            return_dict=False,
        )
        return Residuals(down, mid)


def _acts(control: ActiveControl, step: Step) -> bool:
    """As diffusers decides it: a step counts if it lies within the part as a whole."""
    return step.index / step.count >= control.start and (step.index + 1) / step.count <= control.end


def _zeros_like(residuals: Residuals) -> Residuals:
    return Residuals([torch.zeros_like(part) for part in residuals.down], torch.zeros_like(residuals.mid))


@torch.inference_mode()
def _condition(control: ActiveControl) -> torch.Tensor:
    """The image as the ControlNet's own embedding, 1 or V x C x h x w. A single one is kept: live mode sends the same
    picture many times."""
    controlnet, image = control.controlnet, control.image
    if image.ndim == 4:
        return torch.cat([_embedded(controlnet, one) for one in image])
    return controlnet.conditions.get(digest_of(image) + tiling_now(), lambda: _embedded(controlnet, image))


def _embedded(controlnet: LoadedControlNet, image: AnyArray) -> torch.Tensor:
    pixels = torch.from_numpy(image).to(controlnet.net.device).permute(2, 0, 1)[None].float() / 255.0
    embedding: torch.Tensor = controlnet.embed(pixels.to(controlnet.net.dtype))
    return embedding
