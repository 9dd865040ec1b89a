"""A network that is asked once for each prompt, and whose answers are mixed place by place.

After MultiDiffusion (ICML 2023) and "latent couple". It costs the whole network once more for each region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..denoise import Network, Residuals, Step

__all__ = ["Mixing"]


class Mixing:
    """Implements :class:`..denoise.Network`.

    networks: one for each prompt, since each may keep what it made in earlier steps; with ControlNets of their own,
    which see the prompt, too. parts: V x P x rows x columns, the share of each prompt. Text has the tokens of all P
    prompts, one after the other, and so have prompts as a whole. saves: networks leave work out, and what each makes of
    guidance is its own; otherwise only the first is asked about the half that is guided away from, whose prompt is the
    same everywhere.
    """

    def __init__(self, networks: Sequence[Network], parts: Tensor, saves: bool) -> None:
        self._networks, self._parts, self._saves = networks, parts, saves

    @property
    def dtype(self) -> torch.dtype:
        return self._networks[0].dtype

    def predict(self, step: Step, appended: Sequence[Tensor], residuals: Residuals | None) -> Tensor:
        """residuals: None; the networks have them."""
        assert residuals is None, "the networks have ControlNets of their own"
        count = len(self._networks)
        texts = step.text.chunk(count, dim=1)
        pooled = [None] * count if step.pooled is None else step.pooled.chunk(count, dim=1)
        parts = self._parts if len(self._parts) == 1 else self._parts[step.images]
        found = self._networks[0].predict(replace(step, text=texts[0], pooled=pooled[0]), appended, None).float()
        first = 0 if self._saves else len(step.model_input) - len(step.latents)
        if len(parts) > 1:
            parts = parts.repeat((len(found) - first) // len(parts), 1, 1, 1)
        mixed = found[first:] * parts[:, :1]
        for index in range(1, count):
            whole = pooled[index]
            told = replace(
                step,
                model_input=step.model_input[first:],
                text=texts[index][first:],
                pooled=None if whole is None else whole[first:],
            )
            further = [channels[first:] for channels in appended]
            mixed = mixed + self._networks[index].predict(told, further, None).float() * parts[:, index : index + 1]
        return torch.cat([found[:first], mixed])
