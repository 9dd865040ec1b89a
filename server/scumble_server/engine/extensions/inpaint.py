"""Inpainting in the loop, for networks made for it and for all others."""

from __future__ import annotations

from typing import Any

import torch

from ..denoise import Extension, Step

__all__ = ["KeepKnown", "ShowMasked"]


class ShowMasked(Extension):
    """For networks made for it: they see the mask and the image without what is to be repainted, in every step."""

    def __init__(self, mask: torch.Tensor, masked_latents: torch.Tensor) -> None:
        """mask: 1 x 1 x h x w, 1 is repainted. masked_latents: B x C x h x w."""
        self._channels = torch.cat([mask.expand(masked_latents.shape[0], -1, -1, -1), masked_latents], dim=1)

    def network_input(self, step: Step) -> torch.Tensor:
        channels = self._channels[step.images]
        copies = step.model_input.shape[0] // channels.shape[0]
        return channels.repeat(copies, 1, 1, 1).to(step.model_input.dtype)


class KeepKnown(Extension):
    """For all others: after each step, what the mask keeps is the image again, as noisy as the rest is."""

    def __init__(
        self, scheduler: Any, timesteps: torch.Tensor, mask: torch.Tensor, known: torch.Tensor, noise: torch.Tensor
    ) -> None:
        """mask: 1 x 1 x h x w, 1 is repainted. known, noise: B x C x h x w."""
        self._scheduler, self._timesteps = scheduler, timesteps
        self._mask, self._known, self._noise = mask, known, noise

    def after_step(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        known = self._known
        if step.index < step.count - 1:
            following = self._timesteps[step.index + 1]
            known = self._scheduler.add_noise(known, self._noise, following.reshape(1))
        return (1.0 - self._mask) * known + self._mask * latents
