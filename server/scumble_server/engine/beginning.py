"""What the denoise loop begins with: noise, a noisy image, and how a mask takes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scumble_shared.tensor import AnyArray

from .denoise import Extension
from .extensions.inpaint import KeepKnown, ShowMasked
from .family import LoadedModel
from .latents import draw, encode, moments
from .pixels import to_unit_range

__all__ = ["Anchor", "Beginning"]

Anchor = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Beginning:
    """scheduler: with its timesteps set, of which ``timesteps`` will be run. generators: one per image. anchor: makes
    other noise of the noise that they draw.

    Random numbers are drawn in the order of diffusers' pipelines: the image's latent, the noise, the masked image's.
    """

    model: LoadedModel
    scheduler: Any
    timesteps: torch.Tensor
    generators: Sequence[torch.Generator]
    anchor: Anchor | None = None

    def latents(
        self, size: tuple[int, int], image: AnyArray | None, mask: AnyArray | None, strength: float
    ) -> tuple[torch.Tensor, list[Extension]]:
        """The latents before the first step, B x C x h x w, and what inpainting does in the loop.

        size: width and height in pixels, whole latent pixels. image: uint8 height x width x 3. mask: uint8 height x
        width, 128 and above is repainted. strength: 1 begins with nothing but noise where there is a mask.
        """
        model = self.model
        pixels = None if image is None else to_unit_range(image)
        for_inpainting = model.is_for_inpainting
        from_noise = pixels is None or (mask is not None and strength >= 1.0)
        known = None
        if pixels is not None and not (from_noise and for_inpainting):
            known = encode(moments(model, pixels), self.generators)
        shape = (model.latent_channels, size[1] // model.scale, size[0] // model.scale)
        noise = draw(shape, self.generators, model.device.torch_device)
        if self.anchor is not None:
            noise = self.anchor(noise)
        if from_noise or known is None:
            latents = noise * self.scheduler.init_noise_sigma
        else:
            latents = self.scheduler.add_noise(known, noise, self.timesteps[:1].repeat(len(self.generators)))
        if for_inpainting:
            return latents, [self._show_masked(size, pixels, mask)]
        if mask is None or known is None:
            return latents, []
        draw(shape, self.generators, noise.device)  # diffusers samples the masked image's latent here, too
        return latents, [KeepKnown(self.scheduler, self.timesteps, self._small(_repainted(mask)), known, noise)]

    def _show_masked(self, size: tuple[int, int], pixels: torch.Tensor | None, mask: AnyArray | None) -> Extension:
        """Without a mask all is repainted."""
        repainted = torch.ones(1, 1, size[1], size[0]) if mask is None else _repainted(mask)
        visible = torch.zeros(1, 3, size[1], size[0]) if pixels is None else pixels * (1.0 - repainted)
        return ShowMasked(self._small(repainted), encode(moments(self.model, visible), self.generators))

    def _small(self, repainted: torch.Tensor) -> torch.Tensor:
        """The mask in latent pixels: one is repainted if any of its pixels is, so that no thin stroke is lost."""
        return F.max_pool2d(repainted, self.model.scale).to(self.model.device.torch_device)


def _repainted(mask: AnyArray) -> torch.Tensor:
    """1 x 1 x H x W, 0 or 1."""
    return torch.from_numpy(mask >= 128)[None, None].float()
