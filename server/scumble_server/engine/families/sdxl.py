"""SDXL: two CLIP text encoders, a UNet that is told the picture's size, ControlNets and ControlNet-Union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from ...models.entries import ControlNetEntry, ModelEntry
from ...models.families import UNION_MODES
from ..denoise import Residuals, Step, Text
from ..device import Device
from ..embedding import PromptEncoder
from ..family import LatentColours, LoadedControlNet, LoadedModel, Shown
from .encoders import clip_from_folder, clip_tokenizer
from .loading import (
    CONFIGS,
    check_fits,
    component,
    config_of,
    count_blocks,
    from_state,
    guarded,
    has_cheap_decoder,
    preview_vae,
    scheduler_config,
    settle,
    trained_as,
)
from .unet import UNet, UNetControlNet, without_embedding

__all__ = ["StableDiffusionXL", "TwoEncoders"]

COLOURS = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
)
BIAS = (0.1084, -0.0175, -0.0011)
"""Least-squares fit of the SDXL decoder, as ComfyUI has it: latent channel -> RGB in -1 to 1."""

SIZES = ("cross_attention_dim", "block_out_channels", "layers_per_block")
PENULTIMATE = -2

Encoders = tuple[PromptEncoder, PromptEncoder]
Components = tuple[Encoders, Any, Any, Mapping[str, object]]
"""Text encoders, autoencoder, UNet, and the scheduler's configuration."""


class TwoEncoders:
    """Tokens of both side by side; the prompt as a whole is the second one's."""

    def __init__(self, first: PromptEncoder, second: PromptEncoder) -> None:
        self.encoders = (first, second)

    def modules(self) -> dict[str, Any]:
        """See :class:`..family.TextEncoder`."""
        return {"text_encoder": self.encoders[0].module, "text_encoder_2": self.encoders[1].module}

    def forget(self) -> None:
        """See :class:`..family.TextEncoder`."""
        for encoder in self.encoders:
            encoder.forget()

    def text(self, prompts: Sequence[str], negative: str | None, guidance_scale: float) -> Text:
        """See :class:`..family.TextEncoder`."""
        every = [*prompts] if negative is None else [*prompts, negative]
        length = max(encoder.longest(every) for encoder in self.encoders)

        def tokens(prompt: str) -> torch.Tensor:
            return torch.cat([encoder.extended(prompt, length) for encoder in self.encoders], dim=-1)

        pooled = self.encoders[1].pooled
        return Text(
            torch.cat([tokens(prompt) for prompt in prompts]),
            None if negative is None else tokens(negative),
            guidance_scale,
            torch.cat([pooled(prompt) for prompt in prompts]),
            None if negative is None else pooled(negative),
        )


class SizedUNet(UNet):
    """Is told the prompt as a whole and the picture's size; it was trained on crops, and is told that this is none."""

    def __init__(self, module: Any, scale: int) -> None:
        super().__init__(module)
        self._scale = scale

    def told(self, step: Step) -> dict[str, Any]:
        assert step.pooled is not None, "SDXL's prompts have it"
        height, width = (side * self._scale for side in step.model_input.shape[-2:])
        rows = [[height, width, 0, 0, height, width]] * len(step.model_input)
        sizes = self.constant(("sizes", height, width, len(rows)), lambda: torch.tensor(rows, dtype=torch.float32))
        return {"added_cond_kwargs": {"text_embeds": step.pooled, "time_ids": sizes}}


@dataclass(slots=True)
class UnionControlNet(UNetControlNet):
    """One ControlNet for all kinds, which looks at several at once."""

    takes_several = True

    def run(self, step: Step, shown: Sequence[Shown]) -> Residuals:
        modes = [UNION_MODES[one.kind] for one in shown]
        batch, count = len(step.model_input), self.net.config.num_control_type
        rows = [[float(mode in modes) for mode in range(count)]] * batch
        kinds = self.network.constant(("kinds", *modes, count, batch), lambda: torch.tensor(rows))
        down, mid = self.net(
            step.model_input,
            step.timestep,
            encoder_hidden_states=step.text,
            controlnet_cond=[one.condition.expand(batch, -1, -1, -1) for one in shown],
            control_type=kinds,
            control_type_idx=modes,
            conditioning_scale=[one.strength for one in shown],
            return_dict=False,
            **self.network.told(step),
        )
        return Residuals([*down, mid])


@dataclass(frozen=True, slots=True)
class StableDiffusionXL:
    """The family seam (:class:`..family.Family`). configs: as for SD 1.5."""

    configs: Path = CONFIGS / "sdxl"

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel:
        def load() -> Components:
            if entry.path.is_file():
                return _from_file(entry, device, self.configs)
            return _from_folder(entry.path, device)

        encoders, vae, unet, config = guarded(entry.name, load)
        for module in (*(encoder.module for encoder in encoders), vae, unet):
            settle(module, device)
        return LoadedModel(
            entry=entry,
            device=device,
            prompt_encoder=TwoEncoders(*encoders),
            network=SizedUNet(unet, int(2 ** (len(vae.config.block_out_channels) - 1))),
            vae=vae,
            scheduler_config=trained_as(entry, config),
            colours=None if has_cheap_decoder(vae) else LatentColours.of(COLOURS, BIAS),
            preview_vae=preview_vae(entry, device, vae),
        )

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet:
        assert isinstance(model.network, UNet)
        net = guarded(entry.name, lambda: _controlnet(entry.path, model.network.dtype, self.configs))
        check_fits(net, entry.name, model.network.module, model.entry.name, SIZES)
        settle(net, model.device)
        kind = UnionControlNet if isinstance(net, ControlNetUnionModel) else UNetControlNet
        return kind(entry, net, without_embedding(net), model.network)


def _from_folder(folder: Path, device: Device) -> Components:
    first = clip_from_folder(folder, "", False, device.dtype)
    second = clip_from_folder(folder, "_2", True, device.dtype)
    return (
        (PromptEncoder(*first, PENULTIMATE), PromptEncoder(*second, PENULTIMATE)),
        component(AutoencoderKL, folder / "vae", _vae_dtype(device, config_of(folder / "vae"))),
        component(UNet2DConditionModel, folder / "unet", device.dtype),
        scheduler_config(folder),
    )


def _from_file(entry: ModelEntry, device: Device, configs: Path) -> Components:
    weights = load_file(entry.path)
    local = {"config": str(configs), "local_files_only": True}
    encoders = []
    for number, kind, padding in (("", CLIPTextModel, "<|endoftext|>"), ("_2", CLIPTextModelWithProjection, "!")):
        encoder = create_diffusers_clip_model_from_ldm(
            kind, dict(weights), subfolder=f"text_encoder{number}", torch_dtype=device.dtype, **local
        )
        encoders.append(PromptEncoder(clip_tokenizer(padding), encoder, PENULTIMATE))
    return (
        (encoders[0], encoders[1]),
        AutoencoderKL.from_single_file(
            dict(weights), subfolder="vae", torch_dtype=_vae_dtype(device, config_of(configs / "vae")), **local
        ),
        UNet2DConditionModel.from_single_file(
            dict(weights), subfolder="unet", torch_dtype=device.dtype, in_channels=entry.in_channels, **local
        ),
        scheduler_config(configs),
    )


def _vae_dtype(device: Device, config: Mapping[str, Any]) -> torch.dtype:
    """The original overflows in half precision; one that was mended says so."""
    return torch.float32 if config.get("force_upcast", True) else device.vae_dtype


# --- ControlNets --------------------------------------------------------------------------------------


def _controlnet(path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_dir():
        is_union = config_of(path).get("_class_name") == "ControlNetUnionModel"
        return component(ControlNetUnionModel if is_union else ControlNetModel, path, dtype)
    state = load_file(path)
    if not any(name.startswith("down_blocks.") for name in state):
        return ControlNetModel.from_single_file(
            state, config=str(configs), subfolder="controlnet", torch_dtype=dtype, local_files_only=True
        )
    is_union = "task_embedding" in state
    config = config_of(configs / ("controlnet_union" if is_union else "controlnet")) | _depths(state)
    if is_union:
        config["num_control_type"] = len(state["task_embedding"])
    return from_state(ControlNetUnionModel if is_union else ControlNetModel, config, state, dtype)


def _depths(state: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """What sets small ControlNets apart, told by their tensors: they lack some or all of the transformers."""
    levels = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("down_blocks."))
    blocks = [*(f"down_blocks.{level}" for level in range(levels)), "mid_block"]
    attends = [any(name.startswith(f"{block}.attentions.") for name in state) for block in blocks]
    depths = [count_blocks(state, f"{block}.attentions.0.transformer_blocks.") for block in blocks]
    found: dict[str, object] = {
        "down_block_types": ["CrossAttnDownBlock2D" if there else "DownBlock2D" for there in attends[:-1]],
        "transformer_layers_per_block": [*depths[: levels - 1], depths[levels - 1] if attends[-2] else depths[-1]],
    }
    return found if attends[-1] else {**found, "mid_block_type": "UNetMidBlock2D"}
