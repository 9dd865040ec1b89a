"""FLUX.1: CLIP for the prompt as a whole, T5 for its words, a transformer on flow, ControlNets and their union."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.tensor import AnyArray

from ...models.entries import ControlNetEntry, ModelEntry
from ...models.families import FLUX_UNION_MODES
from ..denoise import FLOW, Residuals, Step, Text
from ..device import Device
from ..embedding import PromptEncoder
from ..family import LatentColours, LoadedControlNet, LoadedModel, Shown
from ..latents import moments
from ..samplers import EVEN_SIGMAS
from .encoders import (
    T5Encoder,
    clip_from_folder,
    clip_from_state,
    clip_tokenizer,
    prefixed,
    t5_from_folder,
    t5_from_state,
    t5_tokenizer,
)
from .flux_names import renamed
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
    read_weights,
    scheduler_config,
    settle,
)
from .packed import sides_of

__all__ = ["Flux"]

COLOURS = (
    (-0.0346, 0.0244, 0.0681),
    (0.0034, 0.0210, 0.0687),
    (0.0275, -0.0668, -0.0433),
    (-0.0174, 0.0160, 0.0617),
    (0.0859, 0.0721, 0.0329),
    (0.0004, 0.0383, 0.0115),
    (0.0405, 0.0861, 0.0915),
    (-0.0236, -0.0185, -0.0259),
    (-0.0245, 0.0250, 0.1180),
    (0.1008, 0.0755, -0.0421),
    (-0.0515, 0.0201, 0.0011),
    (0.0428, -0.0012, -0.0036),
    (0.0817, 0.0765, 0.0749),
    (-0.1264, -0.0522, -0.1103),
    (-0.0280, -0.0881, -0.0499),
    (-0.1262, -0.0982, -0.0778),
)
BIAS = (-0.0329, -0.0718, -0.0851)
"""Least-squares fit of FLUX's decoder, as ComfyUI has it: latent channel -> RGB in -1 to 1."""

PATCH = 2
T5_LENGTH, T5_LENGTH_QUICK = 512, 256
"""Tokens; the second is schnell's."""

SIZES = ("in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim")


class Transformer:
    """A diffusers FluxTransformer2DModel; see :class:`..family.FamilyNetwork`."""

    component = "transformer"
    embeds_guidance = True
    patch = stride = PATCH

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def dtype(self) -> torch.dtype:
        return self.module.dtype  # type: ignore[no-any-return]

    @property
    def in_channels(self) -> int:
        return int(self.module.config.in_channels) // PATCH**2

    def predict(self, step: Step, appended: Sequence[torch.Tensor], residuals: Residuals | None) -> torch.Tensor:
        shown = torch.cat([step.model_input, *appended], dim=1) if appended else step.model_input
        module = self.module
        parts = [] if residuals is None else list(residuals.parts)
        double, single = parts[: len(module.transformer_blocks)], parts[len(module.transformer_blocks) :]
        found = module(
            **told(step, shown, module.config.guidance_embeds),
            controlnet_block_samples=double or None,
            controlnet_single_block_samples=None if not single or single[0] is None else single,
            return_dict=False,
        )[0]
        return unpacked(found, *step.model_input.shape[-2:])


def told(step: Step, shown: torch.Tensor, guidance_embeds: bool) -> dict[str, Any]:
    """What transformer and ControlNets are told alike."""
    batch, device, dtype = len(shown), shown.device, shown.dtype
    rows, columns = (side // PATCH for side in shown.shape[-2:])
    places = torch.zeros(rows, columns, 3, device=device, dtype=step.text.dtype)
    places[..., 1] = torch.arange(rows, device=device)[:, None]
    places[..., 2] = torch.arange(columns, device=device)[None]
    guidance = torch.full([1], step.guidance_scale, device=device, dtype=torch.float32).expand(batch)
    return {
        "hidden_states": packed(shown),
        "timestep": step.timestep.expand(batch).to(dtype) / 1000,
        "guidance": guidance if guidance_embeds else None,
        "pooled_projections": step.pooled,
        "encoder_hidden_states": step.text,
        "txt_ids": torch.zeros(step.text.shape[1], 3, device=device, dtype=step.text.dtype),
        "img_ids": places.view(-1, 3),
    }


def packed(latents: torch.Tensor) -> torch.Tensor:
    """B x C x h x w -> B x h w / 4 x 4 C: what lies in one patch is one token."""
    batch, channels, rows, columns = latents.shape
    patches = latents.reshape(batch, channels, rows // PATCH, PATCH, columns // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH**2)


def unpacked(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Undoes :func:`packed`."""
    batch, _, width = tokens.shape
    patches = tokens.view(batch, rows // PATCH, columns // PATCH, width // PATCH**2, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, width // PATCH**2, rows, columns)


class WordsAndWhole:
    """Tokens are T5's, the prompt as a whole is CLIP's; there is no negative prompt."""

    def __init__(self, clip: PromptEncoder, t5: T5Encoder) -> None:
        self.clips, self.t5 = (clip,), t5

    def modules(self) -> dict[str, Any]:
        """See :class:`..family.TextEncoder`."""
        return {"text_encoder": self.clips[0].module, "text_encoder_2": self.t5.module}

    def forget(self) -> None:
        """See :class:`..family.TextEncoder`."""
        self.clips[0].forget()
        self.t5.forget()

    def text(self, prompts: Sequence[str], negative: str | None, guidance_scale: float) -> Text:
        """See :class:`..family.TextEncoder`."""
        tokens = torch.cat([self.t5.encode(prompt) for prompt in prompts])
        pooled = torch.cat([self.clips[0].pooled(prompt) for prompt in prompts])
        return Text(tokens, None, guidance_scale, pooled)


@dataclass(slots=True)
class TokenControlNet(LoadedControlNet):
    """Sees its picture as latents, or, XLabs' kind, as pixels."""

    model: LoadedModel

    @property
    def _sees_pixels(self) -> bool:
        return self.net.input_hint_block is not None

    @torch.inference_mode()
    def condition(self, image: AnyArray, kind: str) -> torch.Tensor:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0 * 2.0 - 1.0
        if self._sees_pixels:
            return pixels.to(self.model.device.torch_device, self.net.dtype)
        return packed(moments(self.model, pixels)[0]).to(self.net.dtype)

    def run(self, step: Step, shown: Sequence[Shown]) -> Residuals:
        (one,) = shown
        mode = None
        if self.net.union:
            mode = torch.full((len(step.model_input), 1), FLUX_UNION_MODES[one.kind], device=step.text.device)
        double, single = self.net(
            **told(step, step.model_input, self.net.config.guidance_embeds),
            controlnet_cond=one.condition,
            controlnet_mode=mode,
            conditioning_scale=one.strength,
            return_dict=False,
        )
        module = self.model.network.module
        blocks, singles = len(module.transformer_blocks), len(module.single_transformer_blocks)
        repeated = [double[block % len(double)] for block in range(blocks)] if self._sees_pixels else None
        return Residuals([*(repeated or _over(double, blocks)), *_over(single, singles)])


def _over(parts: Sequence[torch.Tensor] | None, blocks: int) -> list[torch.Tensor | None]:
    """One for each block of the transformer, each for several blocks in a row."""
    if not parts:
        return [None] * blocks
    each = math.ceil(blocks / len(parts))
    return [parts[block // each] for block in range(blocks)]


Parts = tuple[tuple[Any, Any], tuple[Any, Any], Any, Any, Mapping[str, object]]
"""Tokenizer and encoder of CLIP and T5, autoencoder, transformer, and the scheduler's configuration."""


@dataclass(frozen=True, slots=True)
class Flux:
    """The family seam (:class:`..family.Family`). configs: as for SD 1.5; sizes are told by the weights."""

    configs: Path = CONFIGS / "flux"

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel:
        def load() -> Parts:
            if entry.path.is_file():
                return _from_file(entry, device.wide_dtype, self.configs)
            return _from_folder(entry.path, device.wide_dtype)

        clip, t5, vae, transformer, config = guarded(entry.name, load)
        for module in (clip[1], t5[1], vae, transformer):
            settle(module, device)
        network = Transformer(transformer)
        if network.in_channels != vae.config.latent_channels:
            raise ScumbleError(
                ErrorCode.MODEL_INVALID,
                f"{entry.name} wants a picture beside the prompt (Fill, Depth, Canny or Kontext); use the plain model",
                remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
            )
        length = T5_LENGTH if transformer.config.guidance_embeds else T5_LENGTH_QUICK
        return LoadedModel(
            entry=entry,
            device=device,
            prompt_encoder=WordsAndWhole(PromptEncoder(*clip), T5Encoder(*t5, length)),
            network=network,
            vae=vae,
            scheduler_config={**config, "prediction_type": FLOW, EVEN_SIGMAS: True},
            colours=None if has_cheap_decoder(vae) else LatentColours.of(COLOURS, BIAS),
            preview_vae=preview_vae(entry, device, vae),
        )

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet:
        net = guarded(entry.name, lambda: _controlnet(entry.path, model.network.dtype, self.configs))
        check_fits(net, entry.name, model.network.module, model.entry.name, SIZES)
        settle(net, model.device)
        return TokenControlNet(entry, net, model)


def _from_folder(folder: Path, dtype: torch.dtype) -> Parts:
    return (
        clip_from_folder(folder, "", False, dtype),
        t5_from_folder(folder, "_2", dtype),
        component(AutoencoderKL, folder / "vae", _vae_dtype(dtype)),
        component(FluxTransformer2DModel, folder / "transformer", dtype),
        scheduler_config(folder),
    )


def _from_file(entry: ModelEntry, dtype: torch.dtype, configs: Path) -> Parts:
    """What the file lacks, T5's tokenizer always, is that of the folder which lends it."""
    weights, lender = read_weights(entry.path), entry.lender
    if lender is None:
        raise KeyError("a complete FLUX folder is needed beside it, for the text encoders")
    clip_state = prefixed(weights, ["text_encoders.clip_l.transformer."])
    t5_state = prefixed(weights, ["text_encoders.t5xxl.transformer."])
    has_vae = any(name.startswith(("vae.", "first_stage_model.")) for name in weights)
    vae_dtype = _vae_dtype(dtype)
    if has_vae:
        local = {"config": str(configs), "local_files_only": True}
        vae = AutoencoderKL.from_single_file(dict(weights), subfolder="vae", torch_dtype=vae_dtype, **local)
    else:
        vae = component(AutoencoderKL, lender / "vae", vae_dtype)
    transformer = _transformer(weights, configs, dtype)
    schedule = scheduler_config(configs)
    if not transformer.config.guidance_embeds:
        schedule = {**schedule, "use_dynamic_shifting": False, "shift": 1.0}
    return (
        (clip_tokenizer(), clip_from_state(clip_state, configs / "text_encoder", False, dtype))
        if clip_state
        else clip_from_folder(lender, "", False, dtype),
        (t5_tokenizer(lender / "tokenizer_2"), t5_from_state(t5_state, configs / "text_encoder_2", dtype))
        if t5_state
        else t5_from_folder(lender, "_2", dtype),
        vae,
        transformer,
        schedule,
    )


def _transformer(weights: Mapping[str, torch.Tensor], configs: Path, dtype: torch.dtype) -> Any:
    state = renamed(weights)
    config = config_of(configs / "transformer")
    sizes = {
        "num_layers": count_blocks(state, "transformer_blocks."),
        "num_single_layers": count_blocks(state, "single_transformer_blocks."),
        "num_attention_heads": state["context_embedder.weight"].shape[0] // int(config["attention_head_dim"]),
        "in_channels": sides_of(state["x_embedder.weight"])[1],
        "guidance_embeds": any(".guidance_embedder." in name for name in state),
    }
    return from_state(FluxTransformer2DModel, {**config, **sizes}, state, dtype)


def _controlnet(path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_dir():
        return component(FluxControlNetModel, path, dtype)
    state = load_file(path)
    config = config_of(configs / "controlnet")
    modes = state.get("controlnet_mode_embedder.weight")
    hint = state.get("input_hint_block.conv_in.weight")
    sizes = {
        "num_layers": count_blocks(state, "transformer_blocks."),
        "num_single_layers": count_blocks(state, "single_transformer_blocks."),
        "num_attention_heads": state["context_embedder.weight"].shape[0] // int(config["attention_head_dim"]),
        "guidance_embeds": any(".guidance_embedder." in name for name in state),
        "num_mode": None if modes is None else len(modes),
        "conditioning_embedding_channels": None if hint is None else state["input_hint_block.conv_out.weight"].shape[0],
    }
    return from_state(FluxControlNetModel, {**config, **sizes}, state, dtype)


def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype
