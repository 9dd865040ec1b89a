"""LoRAs named in a prompt as A1111 has it: ``<lora:moss:0.8>``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..job import Lora

__all__ = ["LoraTag", "id_of", "take_loras", "with_loras"]

TAG = re.compile(r"<lora:([^:<>]+)(?::([^<>]*))?>")
WEIGHT_MAX = 10.0


@dataclass(frozen=True, slots=True)
class LoraTag:
    """A LoRA by the name another tool has for it. weight: 1 as it was trained."""

    name: str
    weight: float = 1.0

    @property
    def lora(self) -> Lora:
        return Lora(id_of(self.name), self.weight)


def take_loras(text: str) -> tuple[str, tuple[LoraTag, ...]]:
    """``text`` without its tags, and what they name, in order. Of several weights in a tag the first counts."""
    tags = tuple(LoraTag(match[1].strip(), _weight(match[2] or "")) for match in TAG.finditer(text))
    if not tags:
        return text, ()
    plain = re.sub(r"[ \t]{2,}", " ", TAG.sub("", text))
    return re.sub(r"([ \t]*,)+", ",", plain).strip(" \t,"), tags


def with_loras(text: str, loras: Iterable[Lora]) -> str:
    """``text`` with a tag for each of ``loras`` behind it."""
    return " ".join([*([text] if text else []), *(f"<lora:{lora.model}:{lora.weight:g}>" for lora in loras)])


def id_of(name: str) -> str:
    """The id that the model index gives to a file of this name."""
    last = re.split(r"[/\\]", name)[-1].removesuffix(".safetensors")
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:60]


def _weight(text: str) -> float:
    first = re.split(r"[:,]", text.partition("=")[2] or text)[0]
    try:
        weight = float(first)
    except ValueError:
        return 1.0
    return max(-WEIGHT_MAX, min(weight, WEIGHT_MAX)) if math.isfinite(weight) else 1.0
