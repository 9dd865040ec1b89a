"""Which way a job is done: plainly, or with graphs, or leaving work out. The one seam between the loop and the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..denoise import Extension, Network
from ..extensions.controls import Controls
from ..family import LoadedModel
from ..seamless import tiling_now
from .assembly import Assembly
from .graphs import Graphs, captured
from .joint import Joint
from .pace import Pace
from .saving import SAVINGS, Saving

__all__ = ["Engaged", "engage"]


@dataclass(frozen=True, slots=True)
class Engaged:
    """What the denoise loop is given. extensions: to go before the others."""

    network: Network
    extensions: Sequence[Extension]


def engage(
    model: LoadedModel,
    controls: Controls,
    timesteps: Tensor,
    quality: str = "exact",
    variant: Callable[[], Hashable] | None = None,
) -> Engaged:
    """timesteps: as :func:`..generate.schedule` gives them. quality: see scumble_shared.job.QUALITIES.
    variant: what the network's doing depends on besides; see :class:`.assembly.Assembly`.

    On a CPU at full quality all is done plainly: nothing is gained there by anything else.
    """
    saving = SAVINGS[quality]
    if model.device.torch_device.type != "cuda":
        if saving == Saving():
            return Engaged(model.network, [controls])
        return Engaged(_assembly(model, controls, timesteps, saving, None, variant), [])
    # What a tiling job does to convolutions is undone after it; a graph of it would not be used again.
    graphs = None if tiling_now() else _graphs(model)
    return Engaged(_assembly(model, controls, timesteps, saving, graphs, variant), [Pace()])


def _assembly(
    model: LoadedModel,
    controls: Controls,
    timesteps: Tensor,
    saving: Saving,
    graphs: Graphs | None,
    variant: Callable[[], Hashable] | None,
) -> Assembly:
    joint = Joint.of(model.network, controls.runs, model.device.torch_device)
    return Assembly(joint, controls, timesteps, saving, graphs, variant)


def _graphs(model: LoadedModel) -> Graphs:
    if model.graphs is None:
        model.graphs = captured(model.device.torch_device)
    return model.graphs
