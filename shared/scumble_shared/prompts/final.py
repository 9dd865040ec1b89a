"""A job's words as it has them in the end: choices made by its seed, LoRAs taken out of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from ..job import GenerateJob, Lora, TextureJob
from .lora_tags import take_loras
from .wildcards import Lookup, expand

__all__ = ["with_final_words"]

Worded = TypeVar("Worded", bound=GenerateJob | TextureJob)


@dataclass(frozen=True, slots=True)
class _Final:
    text: str
    loras: tuple[Lora, ...]


def with_final_words(job: Worded, lookup: Lookup) -> Worded:
    """``job``, whose prompts are as they were written, with the words that its seed chooses and the LoRAs they name.

    A LoRA that a region's prompt names acts everywhere, since weights are the same all over a picture; and once.
    Raises ScumbleError INVALID_FIELD for words that lead nowhere.
    """
    whole = _final(job.prompt, job.seed, lookup)
    negative_prompt = expand(job.negative_prompt, job.seed, lookup)
    loras = [*job.loras, *whole.loras]
    regions = []
    for region in job.regions:
        part = _final(region.prompt, job.seed, lookup)
        regions.append(replace(region, prompt=part.text))
        for lora in part.loras:
            if all(lora.model != other.model for other in loras):
                loras.append(lora)
    return replace(job, prompt=whole.text, negative_prompt=negative_prompt, loras=tuple(loras), regions=tuple(regions))


def _final(text: str, seed: int, lookup: Lookup) -> _Final:
    words, tags = take_loras(expand(text, seed, lookup))
    return _Final(words, tuple(tag.lora for tag in tags))
