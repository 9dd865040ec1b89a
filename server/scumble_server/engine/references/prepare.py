"""From a job's references to what its attentions look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from scumble_shared.job import Reference
from scumble_shared.tensor import AnyArray, Digest

from ..pixels import image_array, mask_array
from .adapter import LoadedAdapter, Tokens
from .attending import Seen
from .encoder import LoadedEncoder

__all__ = ["Placed", "prepared"]

Placed = Callable[[AnyArray], AnyArray]
"""Of a mask in its own size: the same in the size of what is generated, uint8 rows x columns."""


def prepared(
    references: Sequence[Reference],
    adapters: Sequence[LoadedAdapter],
    encoder: Callable[[int], LoadedEncoder],
    tensors: Mapping[Digest, AnyArray],
    frame: tuple[int, int],
    placed: Placed,
) -> list[Seen]:
    """Those that do anything. adapters: of each reference. encoder: of reference number i, asked for only if its
    picture wasn't looked at before. frame: width and height of the result. placed: a mask of that size as it lies in
    what is generated.

    Pictures without masks that are shown by one adapter in one way are looked at together, as diffusers does with
    several pictures of an adapter; all others each by itself. Raises ScumbleError INVALID_FIELD.
    """
    acting = [index for index, one in enumerate(references) if one.weight != 0.0]

    def tokens(index: int) -> Tokens:
        field = f"job.references[{index}].image"
        image = tensors[references[index].image]
        height, width = image.shape[:2] if image.ndim == 3 else (1, 1)
        return adapters[index].tokens(image_array(image, width, height, field), lambda: encoder(index))

    def way(index: int) -> tuple[object, ...]:
        one = references[index]
        alone = -1 if one.mask is None else index
        return (id(adapters[index]), one.weight, one.use, one.start, one.end, alone)

    together: dict[tuple[object, ...], list[int]] = {}
    for index in acting:
        together.setdefault(way(index), []).append(index)
    seen = []
    for indices in together.values():
        first, adapter = references[indices[0]], adapters[indices[0]]
        looked = [tokens(index) for index in indices]
        mask = None
        if first.mask is not None:
            field = f"job.references[{indices[0]}].mask"
            mask = _mask(placed(mask_array(tensors[first.mask], *frame, field)), looked[0][0].device)
        nothing, pictures = (torch.cat([pair[part] for pair in looked]) for part in (0, 1))
        seen.append(Seen(adapter, nothing, pictures, first.weight, first.use, first.start, first.end, mask))
    return seen


def _mask(mask: AnyArray, device: torch.device) -> torch.Tensor:
    """uint8 rows x columns -> 1 x 1 x rows x columns, 0 to 1: as diffusers prepares it, but that grey stays grey."""
    processor = IPAdapterMaskProcessor(do_resize=False, do_binarize=False)
    made: torch.Tensor = processor.preprocess(Image.fromarray(mask))
    return made.to(device)
