"""Pictures of the unfinished image while it is made, and word of the progress."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from scumble_shared.tensor import AnyArray

from ...service import JobHooks
from ..denoise import Extension, Step
from ..family import LoadedModel
from ..latents import unscaled

__all__ = ["Preview", "preview_image"]

LARGEST_DECODE = 24 * 24
"""Latent pixels; more are averaged down before a preview is decoded: a tenth of a second on two cores."""
SHARE = 0.25
"""Part of the loop's time that previews may take on a CPU, where both need the same cores."""


class Preview(Extension):
    """After each step: progress, and a preview of the first image if somebody looks."""

    def __init__(self, model: LoadedModel, hooks: JobHooks, first: float, last: float) -> None:
        """first, last: fraction of the whole job before and after the loop."""
        self._model, self._hooks = model, hooks
        self._first, self._last = first, last
        self._began = time.perf_counter()
        self._spent = self._latest = 0.0

    def after_step(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        last = step.index + 1 == step.count
        fraction = self._first + (self._last - self._first) * (step.index + 1) / step.count
        done, count = self.told(step)
        self._hooks.progress("denoising", done, count, fraction)
        if not last and self._hooks.wants_preview() and self._is_affordable():
            start = time.perf_counter()
            self._hooks.preview(preview_image(self._model, self.picture(step.clean())), done, count)
            self._latest = time.perf_counter() - start
            self._spent += self._latest
        return latents

    def told(self, step: Step) -> tuple[int, int]:
        """Steps done and steps in all, as somebody who waits counts them."""
        return step.index + 1, step.count

    def picture(self, clean: torch.Tensor) -> torch.Tensor:
        """Which of the clean latents, B x C x h x w, are shown; 1 x C x h' x w'."""
        return clean[:1]

    def _is_affordable(self) -> bool:
        """Would one more, as long as the latest, stay within the share? The first always does."""
        elapsed = time.perf_counter() - self._began
        return self._model.device.is_gpu or self._latest == 0.0 or self._spent + self._latest <= SHARE * elapsed


def preview_image(model: LoadedModel, latents: torch.Tensor) -> AnyArray:
    """uint8 H x W x 3 of 1 x C x h x w clean latents; by a decoder if one is cheap, else by a linear map."""
    decoder = model.vae if model.preview_vae is None else model.preview_vae
    if model.colours is None or model.preview_vae is not None:
        rows, columns = latents.shape[-2:]
        shrink = min(1.0, (LARGEST_DECODE / (rows * columns)) ** 0.5)
        pooled = F.adaptive_avg_pool2d(latents, (max(1, round(rows * shrink)), max(1, round(columns * shrink))))
        scaled = pooled if model.preview_vae is not None else unscaled(model.vae, pooled)
        colours = decoder.decode(scaled.to(decoder.dtype), return_dict=False)[0].float()
    else:
        colours = model.colours.picture(latents)
    image = (colours[0].permute(1, 2, 0) * 0.5 + 0.5).nan_to_num(0.5).clamp(0.0, 1.0)
    array: AnyArray = (image * 255.0).round().to(torch.uint8).cpu().numpy()
    return array
