"""What goes into a step's work and what comes out of it, as values made of tensors and nothing else: dataclasses,
tuples, tensors and None."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

from torch import Tensor

__all__ = ["Given", "Made", "flat", "mapped"]


@dataclass(frozen=True, slots=True)
class Given:
    """model_input, timestep, text, pooled: see :class:`..denoise.Step`; the timestep on the network's device.
    appended: further channels of the input. conditions, strengths: per ControlNet, per image that it is shown; strength
    0-d. residuals, deep: made at an earlier step, for steps that take them over."""

    model_input: Tensor
    timestep: Tensor
    text: Tensor
    pooled: Tensor | None = None
    appended: tuple[Tensor, ...] = ()
    conditions: tuple[tuple[Tensor, ...], ...] = ()
    strengths: tuple[tuple[Tensor, ...], ...] = ()
    residuals: tuple[Tensor | None, ...] = ()
    deep: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """prediction: shaped like the latents of the input. residuals: of all ControlNets together, () for none. deep: what
    a UNet's outermost level takes from the deeper ones."""

    prediction: Tensor
    residuals: tuple[Tensor | None, ...] = ()
    deep: Tensor | None = None


Value = TypeVar("Value")


def flat(value: object) -> Iterator[Tensor]:
    """Its tensors, in the order in which :func:`mapped` comes to them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from flat(part)
    elif value is not None:
        for field in fields(value):  # type: ignore[arg-type]
            yield from flat(getattr(value, field.name))


def mapped(value: Value, change: Callable[[Tensor], Tensor]) -> Value:
    """The same with other tensors."""
    if isinstance(value, Tensor):
        return change(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(mapped(part, change) for part in value)  # type: ignore[return-value]
    if value is None:
        return value
    changed = {field.name: mapped(getattr(value, field.name), change) for field in fields(value)}  # type: ignore[arg-type]
    return type(value)(**changed)
