"""Which way a job is done: plainly, or with graphs, or leaving work out. The one seam between the loop and the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..denoise import Extension, Network, Step
from ..device import Device
from ..extensions.controls import Controls
from ..family import LoadedControlNet, LoadedModel
from ..memory.stages import Room
from ..seamless import tiling_now
from .assembly import Assembly
from .attention import fuse_projections
from .compiling import Compiler, can_compile
from .graphs import Graphs, captured
from .joint import Joint
from .pace import Pace
from .saving import SAVINGS, Saving

__all__ = ["Engaged", "accelerate", "accelerate_controlnet", "engage"]


@dataclass(frozen=True, slots=True)
class Engaged:
    """What the denoise loop is given. extensions: to go before the others."""

    network: Network
    extensions: Sequence[Extension]


class Brought(Extension):
    """Has the network and its ControlNets on the device when they are about to run."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def before_network(self, step: Step) -> None:
        self._room.show("network")


def engage(
    model: LoadedModel,
    controls: Controls,
    timesteps: Tensor,
    quality: str = "exact",
    variant: Callable[[], Hashable] | None = None,
    has_controls: bool = False,
) -> Engaged:
    """timesteps: as :func:`..generate.schedule` gives them. quality: see scumble_shared.job.QUALITIES.
    variant: what the network's doing depends on besides; see :class:`.assembly.Assembly`. has_controls: the network
    runs the ControlNets itself.

    On a CPU at full quality all is done plainly: nothing is gained there by anything else. So it is where weights come
    and go, or are unpacked for the moment: there is nothing that stays in place for a graph. Nor is there with
    reference pictures, for which attentions are changed and changed back.
    """
    saving = SAVINGS[quality]
    looking = [] if model.references is None else [model.references]
    if model.device.torch_device.type != "cuda" or not model.room.is_plain:
        there = Brought(model.room)
        if saving == Saving() and not has_controls:
            return Engaged(model.network, [there, *looking, controls])
        return Engaged(_assembly(model, controls, timesteps, saving, None, variant), [there, *looking])
    # What a tiling job does to convolutions is undone after it; a graph of it would not be used again.
    graphs = None if tiling_now() or looking else model.graphs
    return Engaged(_assembly(model, controls, timesteps, saving, graphs, variant), [Pace(), *looking])


def _assembly(
    model: LoadedModel,
    controls: Controls,
    timesteps: Tensor,
    saving: Saving,
    graphs: Graphs | None,
    variant: Callable[[], Hashable] | None,
) -> Assembly:
    joint = Joint.of(model.network, controls.runs, model.device.torch_device)
    return Assembly(joint, controls, timesteps, saving, graphs, None if graphs is None else model.compiler, variant)


def accelerate_controlnet(controlnet: LoadedControlNet, device: Device) -> None:
    """Prepare a ControlNet, likewise."""
    if device.torch_device.type == "cuda":
        fuse_projections(controlnet.net)


def accelerate(model: LoadedModel, compiles: bool) -> None:
    """Prepare a model that was loaded for CUDA: a place for its graphs; and, if it ``compiles`` and there is what makes
    kernels, somebody who does so in the background."""
    if model.device.torch_device.type != "cuda":
        return
    fuse_projections(model.network.module)
    model.graphs = captured(model.device.torch_device)
    model.compiler = Compiler() if compiles and can_compile() else None
