"""Reference pictures in the loop: each cross-attention of a UNet also looks at them, for as long as a job runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor, nn

from ..denoise import Extension, Step
from ..family import LoadedModel
from .adapter import LoadedAdapter

__all__ = ["Attending", "Seen", "attending", "blocks_for"]


Masks = dict[int, list[Tensor | None]]
"""By how many places an attention has: of each that is seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures that one adapter shows together. nothing, pictures: images x tokens x width of the text. weight, use,
    start, end: see scumble_shared.job.Reference. mask: 1 x 1 x H x W, 0 to 1, pixels of what is generated; of a single
    picture."""

    adapter: LoadedAdapter
    nothing: Tensor
    pictures: Tensor
    weight: float
    use: str
    start: float
    end: float
    mask: Tensor | None = None

    def acts(self, step: Step) -> bool:
        """As diffusers decides it for ControlNets: a step counts if it lies within the part as a whole."""
        return step.index / step.count >= self.start and (step.index + 1) / step.count <= self.end


def blocks_for(use: str, names: Sequence[str], is_xl: bool) -> tuple[str, ...]:
    """Beginnings of the names of the attention processors that see a picture, as in InstantStyle.

    Style is told at the deepest level on the way up, what there is and where at the deepest on the way down: of SDXL
    its second attention alone, and of SD 1.5 all of them, and the middle.
    """
    if use == "all":
        return ("",)
    way = "up_blocks" if use == "style" else "down_blocks"
    levels = sorted({name.split(".")[1] for name in names if name.startswith(f"{way}.")}, key=int)
    deepest = f"{way}.{levels[0] if use == 'style' else levels[-1]}"
    if is_xl:
        return (f"{deepest}.attentions.1.",)
    return (f"{deepest}.",) if use == "style" else (f"{deepest}.", "mid_block.")


class Attending(Extension):
    """Holds what the processors of one job look at; see :func:`attending`."""

    def __init__(self, seen: Sequence[Seen], levels: int) -> None:
        self.seen = seen
        self._levels = levels
        self._acting: tuple[bool, ...] = ()
        self._processors: list[_Looking] = []
        self._images = 0
        self._tokens: dict[tuple[int, int], list[Tensor]] = {}
        self._masks: Masks = {}
        self._masks_known: dict[Hashable, Masks] = {}

    def before_network(self, step: Step) -> None:
        """The scales of what acts, and masks for the images that are shown."""
        acting = tuple(one.acts(step) for one in self.seen)
        if acting != self._acting:
            self._acting = acting
            for processor in self._processors:
                processor.set_scales(acting)
        self._images = len(step.latents)
        if any(one.mask is not None for one in self.seen):
            shown = (step.latents.shape[2:], step.images.start, step.images.stop, step.windows)
            if shown not in self._masks_known:
                self._masks_known[shown] = self._masks_of(step)
            self._masks = self._masks_known[shown]

    def tokens(self, count: int) -> list[Tensor]:
        """Of each, count x images x tokens x width. With guidance the first half sees nothing."""
        images = self._images
        if (count, images) not in self._tokens:
            halves = [[one.pictures] if count == images else [one.nothing, one.pictures] for one in self.seen]
            self._tokens[count, images] = [
                torch.cat([part[None].expand(images, -1, -1, -1) for part in parts]) for parts in halves
            ]
        return self._tokens[count, images]

    def masks(self, count: int, places: int) -> list[Tensor | None] | None:
        """count x 1 x places x 1 for an attention of so many places; None if there are none at all."""
        if not self._masks:
            return None
        return [None if mask is None else mask.repeat(count // len(mask), 1, 1, 1) for mask in self._masks[places]]

    def _masks_of(self, step: Step) -> Masks:
        """By the number of places of each level, of which each has half as many rows and columns as the one before.

        As a column of places: diffusers would guess rows and columns from their number and the mask's shape, and guess
        wrong where halves were rounded up. It leaves a column as it is.
        """
        shown = [None if one.mask is None else _part(one.mask, step) for one in self.seen]
        found: Masks = {}
        rows, columns = step.latents.shape[2:]
        for _ in range(self._levels):
            found[rows * columns] = [None if one is None else _column(one, rows, columns) for one in shown]
            rows, columns = -(-rows // 2), -(-columns // 2)
        return found

    def processor(self, name: str, own: Any, scales: Sequence[float]) -> _Looking:
        """For the attention of this name, which has ``own``."""
        looking = _Looking(self, own, _together([one.adapter.attentions[name] for one in self.seen]), scales)
        self._processors.append(looking)
        return looking


def _column(mask: Tensor, rows: int, columns: int) -> Tensor:
    """N x 1 x H x W -> N x 1 x places x 1, as diffusers makes a mask smaller."""
    return F.interpolate(mask, (rows, columns), mode="bicubic").flatten(2)[..., None]


def _part(mask: Tensor, step: Step) -> Tensor:
    """Of the images that are shown: N x 1 x H x W."""
    if step.windows is None:
        return mask
    windows = step.windows.scaled(mask.shape[-1] // step.windows.width)
    return torch.cat([windows.window(mask, index) for index in range(len(windows))[step.images]])


class _Looking:
    """In the place of an attention's own processor; which does what it always did where there is nothing to see."""

    def __init__(self, attending: Attending, own: Any, inner: Any, scales: Sequence[float]) -> None:
        self._attending, self._own, self._inner, self._scales = attending, own, inner, scales

    def set_scales(self, acting: Sequence[bool]) -> None:
        self._inner.scale = [scale if acts else 0.0 for scale, acts in zip(self._scales, acting, strict=True)]

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if not any(self._inner.scale):
            return self._own(attn, hidden_states, encoder_hidden_states, attention_mask, temb)  # type: ignore[no-any-return]
        count, places = hidden_states.shape[:2]
        both = (encoder_hidden_states, self._attending.tokens(count))
        masks = self._attending.masks(count, places)
        return self._inner(attn, hidden_states, both, attention_mask, temb, ip_adapter_masks=masks)  # type: ignore[no-any-return]


def _together(adapters: Sequence[IPAdapterAttnProcessor2_0]) -> IPAdapterAttnProcessor2_0:
    """One processor with the weights of several."""
    first = adapters[0]
    with init_empty_weights():
        made = IPAdapterAttnProcessor2_0(
            first.hidden_size, first.cross_attention_dim, [one.num_tokens[0] for one in adapters]
        )
    made.to_k_ip = nn.ModuleList([one.to_k_ip[0] for one in adapters])
    made.to_v_ip = nn.ModuleList([one.to_v_ip[0] for one in adapters])
    return made


@contextmanager
def attending(model: LoadedModel, seen: Sequence[Seen]) -> Iterator[None]:
    """Within it the model's UNet looks at what is ``seen``; afterwards it is as it was."""
    if not seen:
        yield
        return
    unet = model.network.module
    own = dict(unet.attn_processors)
    names = list(seen[0].adapter.attentions)
    is_xl = unet.config.addition_embed_type == "text_time"
    blocks = [blocks_for(one.use, names, is_xl) for one in seen]
    extension = Attending(seen, len(unet.config.block_out_channels))
    changed = {}
    for name in names:
        scales = [one.weight if name.startswith(where) else 0.0 for one, where in zip(seen, blocks, strict=True)]
        if any(scales):
            changed[name] = extension.processor(name, own[name], scales)
    model.references = extension
    unet.set_attn_processor({**own, **changed})
    try:
        yield
    finally:
        unet.set_attn_processor(own)
        model.references = None
