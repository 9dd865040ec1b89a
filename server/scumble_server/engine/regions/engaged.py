"""Which way a job with regions is done; without regions as ever."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from torch import Tensor

from ..extensions.controls import Controls
from ..family import LoadedModel
from ..fast.engage import Engaged, engage
from .coupling import Coupling, can_be_coupled, coupled
from .mixing import Mixing
from .places import Regional

__all__ = ["engaged"]


@contextmanager
def engaged(
    model: LoadedModel,
    controls: Controls,
    timesteps: Tensor,
    regional: Regional | None,
    size: tuple[int, int],
    quality: str = "exact",
    variant: Callable[[], Hashable] | None = None,
) -> Iterator[Engaged]:
    """As :func:`..fast.engage.engage`, for a text as :func:`.texts.texts_for` makes it. size: rows and columns of the
    latents. Within it the model may be changed, afterwards it is as it was."""
    if regional is None:
        yield engage(model, controls, timesteps, quality, variant)
        return
    parts, network = regional.shares(size), model.network
    if not can_be_coupled(network):
        ways = [engage(model, controls, timesteps, quality, variant, has_controls=True) for _ in range(parts.shape[1])]
        mixing = Mixing([way.network for way in ways], parts.to(model.device.torch_device), quality != "exact")
        yield Engaged(mixing, ways[0].extensions)
        return
    shape, depth = tuple(parts.shape), len(network.module.config.block_out_channels)
    coupling: Coupling = model.couplings.get((shape, depth), lambda: Coupling(shape, depth))
    coupling.show(parts)
    nets = list(dict.fromkeys(run.controlnet.net for run in controls.runs))
    with coupled([network.module, *nets], coupling):
        own = coupling.variant if variant is None else lambda: (coupling.variant(), variant())
        way = engage(model, controls, timesteps, quality, own)
        yield Engaged(way.network, [coupling, *way.extensions])
