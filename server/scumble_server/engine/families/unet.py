"""Networks that are UNets, and their ControlNets: what SD 1.5 and SDXL share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scumble_shared.tensor import AnyArray

from ..denoise import Residuals, Step
from ..family import LoadedControlNet, Shown

__all__ = ["UNet", "UNetControlNet", "without_embedding"]


class UNet:
    """A diffusers UNet2DConditionModel; see :class:`..family.FamilyNetwork`."""

    component = "unet"
    patch = 1

    def __init__(self, module: Any) -> None:
        self.module = module
        self.embeds_guidance = module.config.time_cond_proj_dim is not None
        self._constants: dict[Hashable, torch.Tensor] = {}

    @property
    def dtype(self) -> torch.dtype:
        return self.module.dtype  # type: ignore[no-any-return]

    @property
    def in_channels(self) -> int:
        return int(self.module.config.in_channels)

    @property
    def stride(self) -> int:
        return int(2 ** (len(self.module.config.block_out_channels) - 1))

    def told(self, step: Step) -> dict[str, Any]:
        """Arguments beside text and noise, for the UNet and its ControlNets."""
        return {}

    def predict(self, step: Step, appended: Sequence[torch.Tensor], residuals: Residuals | None) -> torch.Tensor:
        parts = [] if residuals is None else list(residuals.parts)
        arguments = self.arguments(step, appended)
        return self.module(  # type: ignore[no-any-return]
            arguments.pop("sample"),
            arguments.pop("timestep"),
            **arguments,
            down_block_additional_residuals=parts[:-1] or None,
            mid_block_additional_residual=parts[-1] if parts else None,
            return_dict=False,
        )[0]

    def arguments(self, step: Step, appended: Sequence[torch.Tensor]) -> dict[str, Any]:
        """All that the module is told but for residuals."""
        return {
            "sample": torch.cat([step.model_input, *appended], dim=1) if appended else step.model_input,
            "timestep": step.timestep,
            "encoder_hidden_states": step.text,
            "timestep_cond": self._guidance(step),
            **self.told(step),
        }

    def constant(self, key: Hashable, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A small tensor on the device, sent there once: what is sent in a step is waited for, and graphs can't."""
        if key not in self._constants:
            self._constants[key] = make().to(self.module.device, self.module.dtype)
        return self._constants[key]

    def _guidance(self, step: Step) -> torch.Tensor | None:
        """For UNets distilled with the guidance scale as an input (LCM)."""
        width, batch = self.module.config.time_cond_proj_dim, len(step.model_input)
        if width is None:
            return None
        key = ("guidance", step.guidance_scale, batch)
        return self.constant(key, lambda: _sinusoids((step.guidance_scale - 1.0) * 1000.0, width).repeat(batch, 1))


def _sinusoids(value: float, width: int) -> torch.Tensor:
    """1 x width, as diffusers embeds a guidance scale."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = torch.tensor([value])[:, None] * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, 1)) if width % 2 else embedding


@dataclass(slots=True)
class UNetControlNet(LoadedControlNet):
    """embed: the net's own image embedding, moved out of it so that its result, the same in every step, is computed
    once. network: whose told things it is told, too."""

    embed: torch.nn.Module
    network: UNet

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        return [self.net, self.embed]

    def condition(self, image: AnyArray, kind: str) -> torch.Tensor:
        place = next(self.embed.parameters()).device  # the net itself may be elsewhere until it runs
        pixels = torch.from_numpy(image).to(place).permute(2, 0, 1)[None].float() / 255.0
        return self.embed(pixels.to(self.net.dtype))  # type: ignore[no-any-return]

    def run(self, step: Step, shown: Sequence[Shown]) -> Residuals:
        (one,) = shown
        down, mid = self.net(
            step.model_input,
            step.timestep,
            encoder_hidden_states=step.text,
            controlnet_cond=one.condition,
            conditioning_scale=one.strength,
            return_dict=False,
            **self.network.told(step),
        )
        return Residuals([*down, mid])


def without_embedding(net: Any) -> torch.nn.Module:
    """Moves a ControlNet's image embedding out of it, and has images in the order of channels it wants."""
    embed: torch.nn.Module = net.controlnet_cond_embedding
    net.controlnet_cond_embedding = torch.nn.Identity()
    if net.config.controlnet_conditioning_channel_order == "bgr":
        net.register_to_config(controlnet_conditioning_channel_order="rgb")
        embed = torch.nn.Sequential(_SwapChannels(), embed)
    return embed


class _SwapChannels(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flip(1)
