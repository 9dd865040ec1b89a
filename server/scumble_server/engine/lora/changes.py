"""Which LoRAs a model carries: added to its weights, and taken back to the bit when another job wants others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...models.entries import LoraEntry
from ..families.packed import is_packed
from .beside import add_beside, packed_layers
from .names import targets_of
from .reading import Layer, read_layers

if TYPE_CHECKING:
    from ..family import LoadedModel

__all__ = ["Changes", "Wanted", "versions"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """LoRA number ``position`` of a job."""

    entry: LoraEntry
    weight: float
    position: int


class Changes:
    """Of one model. What its weights were before lies in the computer's memory while LoRAs are on. Weights that are
    packed aren't touched."""

    def __init__(self) -> None:
        self._now: tuple[tuple[object, ...], ...] = ()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # weights and what they were, by the former's identity
        self._beside: list[RemovableHandle] = []

    def make(self, model: LoadedModel, wanted: Sequence[Wanted]) -> bool:
        """From now on the model is with these LoRAs and no others. Whether anything had to be done for it.

        Raises ScumbleError MODEL_INVALID or MODEL_MISMATCH about the LoRA that can't be used; then the model has none.
        """
        acting = [one for one in wanted if one.weight != 0.0]
        key = versions(acting)
        if key == self._now:
            return False
        self._take_back()
        model.prompt_encoder.forget()
        try:
            self._add(model, acting)
        except BaseException:
            self._take_back()
            raise
        self._now = key
        return True

    @torch.inference_mode()
    def _add(self, model: LoadedModel, wanted: Sequence[Wanted]) -> None:
        targets = targets_of(model.components) if wanted else {}
        owners = packed_layers(model.components) if wanted else {}
        for one in wanted:
            with _about(one):
                layers = read_layers(one.entry.path, one.entry.name, targets)
            for layer in layers:
                self._add_layer(layer, one, owners)

    def _add_layer(self, layer: Layer, one: Wanted, owners: Mapping[int, nn.Linear]) -> None:
        added: list[tuple[Tensor, Tensor]] = []
        try:
            if any(is_packed(weight) for weight in layer.weights):
                self._beside += add_beside(layer, one.weight, owners)
            else:
                added = layer.added([self._original(weight) for weight in layer.weights])
        except (ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise _refused(one, ErrorCode.MODEL_MISMATCH, f"{one.entry.name} doesn't fit: {error}") from error
        for weight, change in added:
            if id(weight) not in self._before:
                self._before[id(weight)] = weight, weight.detach().to("cpu", copy=True)
            weight.copy_((weight.float() + one.weight * change).to(weight.dtype))

    def _original(self, weight: Tensor) -> Tensor:
        """What it is without LoRAs."""
        return self._before[id(weight)][1] if id(weight) in self._before else weight

    @torch.inference_mode()
    def _take_back(self) -> None:
        for weight, before in self._before.values():
            weight.copy_(before)
        self._before.clear()
        for handle in self._beside:
            handle.remove()
        self._beside.clear()
        self._now = ()


@contextmanager
def _about(one: Wanted) -> Iterator[None]:
    """Says which of the job's LoRAs an error is about."""
    try:
        yield
    except ScumbleError as error:
        raise _refused(one, error.code, error.info.message) from error


def versions(wanted: Sequence[Wanted]) -> tuple[tuple[object, ...], ...]:
    """Equal if they change weights in the same way."""
    return tuple((*_version(one), one.weight) for one in wanted if one.weight != 0.0)


def _version(one: Wanted) -> tuple[object, ...]:
    """Changes when its file does. A file that is gone is found out when it is read."""
    path = one.entry.path
    status = path.stat() if path.exists() else None
    return (path, status and status.st_mtime_ns, status and status.st_size)


def _refused(one: Wanted, code: ErrorCode, message: str) -> ScumbleError:
    remedy = Remedy("Remove the LoRA", RemedyAction.REMOVE_LORA, str(one.position))
    return ScumbleError(code, message, field=f"job.loras[{one.position}].model", remedy=remedy)
