"""Views that look at each other: in the first steps, where layout and palette are decided, each view's self-attention
also sees its neighbours and the front view. After SyncMVD (SIGGRAPH Asia 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from scumble_shared.camera import Camera

from ..denoise import Extension, Step

__all__ = ["SharedAttention", "neighbours", "shared_attention"]

SHARE_UNTIL = 0.2
"""Part of the steps in which views look at each other."""

NEIGHBOURS = 2


Looks = tuple[tuple[int, ...], ...]
"""Of each image that is shown, which of them it looks at."""


class SharedAttention(Extension):
    """looked_at: which of the batch each image looks at, itself first. now: the same for the images of this step, on
    their device; None where they don't look at each other."""

    def __init__(self, looked_at: Sequence[Sequence[int]]) -> None:
        self._looked_at = looked_at
        self.now: torch.Tensor | None = None
        self._indices: dict[Looks, torch.Tensor] = {}
        self._looks: Looks | None = None

    def variant(self) -> Looks | None:
        """Who looks at whom in this step."""
        return self._looks

    def before_network(self, step: Step) -> None:
        """Images that aren't shown to the network this time are replaced by the one that looks."""
        self.now = self._looks = None
        if step.index / step.count < SHARE_UNTIL:
            shown = range(len(self._looked_at))[step.images]
            looks = self._looks = tuple(
                tuple((other if other in shown else own) - shown.start for other in self._looked_at[own])
                for own in shown
            )
            if looks not in self._indices:
                self._indices[looks] = torch.tensor(looks, device=step.model_input.device)
            self.now = self._indices[looks]


class _Processor:
    """Stands before a self-attention's own processor and widens what it attends to."""

    def __init__(self, inner: Any, sharing: SharedAttention) -> None:
        self._inner, self._sharing = inner, sharing

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        now = self._sharing.now
        if now is not None:
            tokens = hidden_states.reshape(
                -1, len(now), *hidden_states.shape[1:]
            )  # with guidance both halves have all images
            encoder_hidden_states = tokens[:, now].flatten(2, 3).flatten(0, 1)
        return self._inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb)  # type: ignore[no-any-return]


@contextmanager
def shared_attention(unet: Any, sharing: SharedAttention) -> Iterator[None]:
    """Within it the UNet's self-attention is shared; afterwards the UNet is as it was."""
    own = dict(unet.attn_processors)
    unet.set_attn_processor(
        {
            name: _Processor(processor, sharing) if name.endswith("attn1.processor") else processor
            for name, processor in own.items()
        }
    )
    try:
        yield
    finally:
        unet.set_attn_processor(own)


def neighbours(cameras: Sequence[Camera], front: int) -> list[list[int]]:
    """For each camera itself, those that look most nearly its way, and ``front``: equally many for all."""
    others = min(NEIGHBOURS, len(cameras) - 1)
    result = []
    for own, camera in enumerate(cameras):
        rest = [index for index in range(len(cameras)) if index != own]
        nearest = sorted(rest, key=lambda index: -float(camera.forward @ cameras[index].forward))
        result.append([own, *nearest[:others], front])
    return result
