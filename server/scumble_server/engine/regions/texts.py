"""Several prompts as one text: what the network is told of them, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..denoise import Text
from ..family import LoadedModel
from .coupling import can_be_coupled
from .places import Regional

__all__ = ["texts_for"]


def texts_for(
    encode: Callable[[Sequence[str]], Text],
    model: LoadedModel,
    prompts: Sequence[str],
    regional: Regional | None,
    size: tuple[int, int],
) -> Text:
    """What ``encode`` makes of the pictures' ``prompts``; with regions the tokens of all prompts one after the other,
    the pictures' first.

    size: rows and columns of the latents. Of prompts as a whole there is one beside the other for a network that is
    asked about each. One that attends to all at once is told it once for all places: it gets the mean of the picture.
    """
    if regional is None:
        return encode(prompts)
    each = [prompts, *([*texts] * (len(prompts) if len(texts) == 1 else 1) for texts in regional.prompts)]
    text = encode([prompt for several in each for prompt in several])
    count = len(each)
    positive = _side_by_side(text.positive, count, 1)
    negative = None if text.negative is None else torch.cat([text.negative] * count, dim=1)
    if text.pooled is None:
        return Text(positive, negative, text.guidance_scale)
    if not can_be_coupled(model.network):
        pooled = _side_by_side(text.pooled, count, 1)
        beside = None if text.negative_pooled is None else torch.cat([text.negative_pooled] * count, dim=1)
        return Text(positive, negative, text.guidance_scale, pooled, beside)
    parts = regional.shares(size).mean(dim=(2, 3)).to(text.pooled)
    pooled = (parts.T[..., None] * text.pooled.view(count, len(prompts), -1)).sum(0)
    return Text(positive, negative, text.guidance_scale, pooled, text.negative_pooled)


def _side_by_side(values: Tensor, count: int, dim: int) -> Tensor:
    """(count * B) x ... -> B x ..., joined along ``dim``."""
    return torch.cat(values.chunk(count), dim=dim)
