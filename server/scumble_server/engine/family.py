"""The seam between the engine and a family of models: what a loaded model is, and who can load it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from scumble_shared.tensor import AnyArray

from ..models.entries import ControlNetEntry, ModelEntry
from .cache import Cache
from .denoise import Extension, Network, Residuals, Step, Text
from .device import Device
from .fast.graphs import Graphs
from .memory.stages import Room

__all__ = [
    "CONDITIONS_KEPT",
    "Family",
    "FamilyNetwork",
    "LatentColours",
    "LoadedControlNet",
    "LoadedModel",
    "Shown",
    "TextEncoder",
]

CONDITIONS_KEPT = 4
"""Embedded control images kept per ControlNet: in live mode the picture is the same job after job."""


COUPLINGS_KEPT = 8
"""As live mode goes from drafts to pictures of full size and back."""


class TextEncoder(Protocol):
    def text(self, prompts: Sequence[str], negative: str | None, guidance_scale: float) -> Text:
        """The prompts as the model sees them, one embedding each, all of one length. negative: None for no guidance."""
        ...

    def modules(self) -> Mapping[str, Any]:
        """Text encoders by diffusers' names for them, "text_encoder", "text_encoder_2" ..."""
        ...

    def forget(self) -> None:
        """Prompts are encoded anew: the encoders' weights have changed."""
        ...


class FamilyNetwork(Network, Protocol):
    """What the engine asks of a network beside running it.

    component: "unet" or "transformer", diffusers' name for it. module: of diffusers. in_channels: of its input; more
    than latents have for models made for inpainting. patch: latent pixels a side that it sees as one. stride: latent
    pixels per step of its deepest level. embeds_guidance: it takes the guidance scale as an input, and no negative
    prompt.
    """

    component: str
    module: Any
    embeds_guidance: bool

    @property
    def in_channels(self) -> int: ...

    @property
    def patch(self) -> int: ...

    @property
    def stride(self) -> int: ...


@dataclass(frozen=True, slots=True)
class LatentColours:
    """A latent as a small picture in -1 to 1. factors: channels x 3. bias: 3."""

    factors: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, factors: Sequence[Sequence[float]], bias: Sequence[float] = (0.0, 0.0, 0.0)) -> LatentColours:
        return cls(torch.tensor(factors), torch.tensor(bias))

    def picture(self, latents: torch.Tensor) -> torch.Tensor:
        """B x C x h x w -> B x 3 x h x w."""
        colours = torch.einsum("bchw,cr->brhw", latents, self.factors.to(latents.device))
        return colours + self.bias.to(latents.device)[:, None, None]


@dataclass(slots=True)
class LoadedModel:
    """A model on its device, ready to run.

    vae: diffusers AutoencoderKL. scheduler_config: the noise schedule it was trained on. colours: of latents, for
    previews; None if the decoder is cheap enough itself. preview_vae: diffusers AutoencoderTiny, if there is one.
    graphs, compiler: what makes it quicker on its device; see :mod:`.fast.engage`. room: how it lies in memory, and
    what the job that runs does about that. references: pictures that its network looks at beside the prompt, while a
    job with such runs (:mod:`.references`). couplings: what attentions are told of prompts for parts of a picture, by
    how many there are and how large it is (:mod:`.regions`).
    """

    entry: ModelEntry
    device: Device
    prompt_encoder: TextEncoder
    network: FamilyNetwork
    vae: Any
    scheduler_config: Mapping[str, object]
    colours: LatentColours | None
    preview_vae: Any = None
    graphs: Graphs | None = None
    compiler: Any = None
    room: Room = field(default_factory=Room)
    references: Extension | None = None
    couplings: Cache[Hashable, Any] = field(default_factory=lambda: Cache(COUPLINGS_KEPT))

    @property
    def unet(self) -> Any:
        """The network's module."""
        return self.network.module

    @property
    def components(self) -> Mapping[str, Any]:
        """Network and text encoders by diffusers' names for them."""
        return {self.network.component: self.network.module, **self.prompt_encoder.modules()}

    @property
    def scale(self) -> int:
        """Image pixels per latent pixel."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Image pixels that sides must be multiples of."""
        return self.scale * self.network.patch

    @property
    def stride(self) -> int:
        """Image pixels per step of the network's deepest level."""
        return self.scale * self.network.stride

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def is_for_inpainting(self) -> bool:
        return self.network.in_channels != self.latent_channels


@dataclass(frozen=True, slots=True)
class Shown:
    """What a ControlNet is shown. kind: see scumble_shared.job.Control. condition: an image as it embeds it, 1 or B x
    ... strength: a tensor, 0-d, where it may change and nothing else does."""

    kind: str
    condition: torch.Tensor
    strength: float | torch.Tensor


@dataclass(slots=True)
class LoadedControlNet(ABC):
    """net: of diffusers. conditions: embedded images by digest: what doesn't change from step to step is computed once.

    takes_several: one run can be shown several images, of different kinds.
    """

    entry: ControlNetEntry
    net: Any
    conditions: Cache[str, torch.Tensor] = field(default_factory=lambda: Cache(CONDITIONS_KEPT), kw_only=True)

    takes_several: ClassVar[bool] = False

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """All that look at places next to each other."""
        return [self.net]

    @abstractmethod
    def condition(self, image: AnyArray, kind: str) -> torch.Tensor:
        """uint8 H x W x 3, as large as what is generated, as the net embeds it, 1 x ..."""

    @abstractmethod
    def run(self, step: Step, shown: Sequence[Shown]) -> Residuals:
        """What the net adds to the network. shown: several only if it takes several."""


class Family(Protocol):
    """Loads models of one architecture. Both methods raise ScumbleError MODEL_INVALID for files that don't fit,
    the second MODEL_MISMATCH for a ControlNet that doesn't fit the model."""

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel: ...

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet: ...
