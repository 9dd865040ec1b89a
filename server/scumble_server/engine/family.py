"""The seam between the engine and a family of models: what a loaded model is, and who can load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ..models.entries import ControlNetEntry, ModelEntry
from .cache import Cache
from .device import Device
from .embedding import PromptEncoder

__all__ = ["CONDITIONS_KEPT", "Family", "LoadedControlNet", "LoadedModel"]

CONDITIONS_KEPT = 4
"""Embedded control images kept per ControlNet: in live mode the picture is the same job after job."""


@dataclass(slots=True)
class LoadedModel:
    """A model on its device, ready to run.

    unet, vae: diffusers modules. scheduler_config: the noise schedule it was trained on. latent_to_rgb:
    channels x 3 factors that show a latent as a small picture in -1 to 1; None if the decoder is cheap enough itself.
    """

    entry: ModelEntry
    device: Device
    prompt_encoder: PromptEncoder
    unet: Any
    vae: Any
    scheduler_config: Mapping[str, object]
    latent_to_rgb: torch.Tensor | None

    @property
    def scale(self) -> int:
        """Image pixels per latent pixel."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def stride(self) -> int:
        """Image pixels per step of the UNet's deepest level."""
        return int(self.scale * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)


@dataclass(slots=True)
class LoadedControlNet:
    """net: a diffusers ControlNetModel whose own image embedding was moved out into ``embed``, so that its result,
    the same in every step, is computed once. conditions: embedded images by digest."""

    entry: ControlNetEntry
    net: Any
    embed: torch.nn.Module
    conditions: Cache[str, torch.Tensor] = field(default_factory=lambda: Cache(CONDITIONS_KEPT))


class Family(Protocol):
    """Loads models of one architecture. Both methods raise ScumbleError MODEL_INVALID for files that don't fit,
    the second MODEL_MISMATCH for a ControlNet that doesn't fit the model."""

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel: ...

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet: ...
