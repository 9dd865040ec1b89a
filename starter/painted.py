"""Latents as the model paints them, beside the pictures that they should be: what a decoder sees in its later life.

A picture's latents are covered with noise up to a random step, and painted again from there by the trained networks,
with the picture's own caption and control images. What was covered comes back nearly as it was, with the grain and the
blurs that the networks leave, which are not those of any noise. Without guidance, whose strong colours are wanted, and
would be learnt to be taken back.
"""

from __future__ import annotations

import torch
from model import CONTROLS, SIZES, build_controlnet, build_text_encoder, build_tokenizer, build_unet, scheduler
from torch import Tensor, nn
from trainer import Run, averaged

__all__ = ["Repainter"]

STEPS = 3
COVERED = (0.3, 0.9)
"""From which part of all steps they are painted."""


class Repainter:
    """The networks of ``run.work``, averaged over their training, which must have begun."""

    def __init__(self, run: Run) -> None:
        self._device, size = torch.device(run.device), SIZES[run.size]
        self._tokenizer = build_tokenizer()
        self._text = build_text_encoder(size, self._tokenizer)
        self._text.load_state_dict(averaged(run.work, "words", "text_encoder", self._device))
        self._unet = build_unet(size)
        self._nets = {name: build_controlnet(size) for name in CONTROLS}
        modules: dict[str, nn.Module] = {"unet": self._unet}
        modules |= {f"controlnet_{name}": net for name, net in self._nets.items()}
        for name, module in modules.items():
            module.load_state_dict(averaged(run.work, "diffusion", name, self._device))
            module.to(memory_format=torch.channels_last)
        for module in (self._text, *modules.values()):
            module.to(self._device).requires_grad_(False).eval()
        self._alphas = scheduler().alphas_cumprod.to(self._device)

    @torch.no_grad()
    def paint(self, latent: Tensor, captions: list[str], hints: dict[str, Tensor]) -> Tensor:
        """latent: B x C x h x w. hints: B x 3 x H x W in [0, 1], by kind."""
        tokens = self._tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        words = self._text(tokens.to(self._device)).last_hidden_state
        low, high = COVERED
        first = low + (high - low) * float(torch.rand(()))
        times = [int(first * (STEPS - i) / STEPS * (len(self._alphas) - 1)) for i in range(STEPS)]
        x = self._mixed(latent, torch.randn_like(latent), times[0])
        for time, following in zip(times, [*times[1:], -1], strict=True):
            velocity = self._velocity(x, time, words, hints)
            a, s = self._shares(time)
            clean, noise = a * x - s * velocity, s * x + a * velocity
            x = clean if following < 0 else self._mixed(clean, noise, following)
        return x

    def _shares(self, time: int) -> tuple[Tensor, Tensor]:
        """Of picture and noise."""
        return self._alphas[time].sqrt(), (1 - self._alphas[time]).sqrt()

    def _mixed(self, clean: Tensor, noise: Tensor, time: int) -> Tensor:
        a, s = self._shares(time)
        return a * clean + s * noise

    def _velocity(self, x: Tensor, time: int, words: Tensor, hints: dict[str, Tensor]) -> Tensor:
        t = torch.tensor(time, device=self._device)
        parts = [net(x, t, words, hints[name], return_dict=False) for name, net in self._nets.items()]
        down = [sum(layers) for layers in zip(*(part[0] for part in parts), strict=True)]
        extra = {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": sum(part[1] for part in parts),
        }
        velocity: Tensor = self._unet(x, t, words, return_dict=False, **extra)[0].float()
        return velocity
