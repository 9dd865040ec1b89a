"""Stable Diffusion 3 and 3.5: two CLIPs and T5, a transformer on flow, ControlNets that see latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, SD3ControlNetModel, SD3Transformer2DModel
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.tensor import AnyArray

from ...models.entries import ControlNetEntry, ModelEntry
from ..denoise import FLOW, Residuals, Step, Text
from ..device import Device
from ..embedding import PromptEncoder
from ..family import LatentColours, LoadedControlNet, LoadedModel, Shown
from ..latents import moments
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

__all__ = ["StableDiffusion3"]

COLOURS = (
    (-0.0922, -0.0175, 0.0749),
    (0.0311, 0.0633, 0.0954),
    (0.1994, 0.0927, 0.0458),
    (0.0856, 0.0339, 0.0902),
    (0.0587, 0.0272, -0.0496),
    (-0.0006, 0.1104, 0.0309),
    (0.0978, 0.0306, 0.0427),
    (-0.0042, 0.1038, 0.1358),
    (-0.0194, 0.0020, 0.0669),
    (-0.0488, 0.0130, -0.0268),
    (0.0922, 0.0988, 0.0951),
    (-0.0278, 0.0524, -0.0542),
    (0.0332, 0.0456, 0.0895),
    (-0.0069, -0.0030, -0.0810),
    (-0.0596, -0.0465, -0.0293),
    (-0.1448, -0.1463, -0.1189),
)
BIAS = (0.2394, 0.2135, 0.1925)
"""Least-squares fit of the SD 3 decoder, as ComfyUI has it: latent channel -> RGB in -1 to 1."""

T5_LENGTH = 256
PENULTIMATE = -2

SIZES = ("in_channels", "patch_size", "attention_head_dim", "num_attention_heads")


class Transformer:
    """A diffusers SD3Transformer2DModel; see :class:`..family.FamilyNetwork`."""

    component = "transformer"
    embeds_guidance = False

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def dtype(self) -> torch.dtype:
        return self.module.dtype  # type: ignore[no-any-return]

    @property
    def in_channels(self) -> int:
        return int(self.module.config.in_channels)

    @property
    def patch(self) -> int:
        return int(self.module.config.patch_size)

    @property
    def stride(self) -> int:
        return self.patch

    def predict(self, step: Step, appended: Sequence[torch.Tensor], residuals: Residuals | None) -> torch.Tensor:
        return self.module(  # type: ignore[no-any-return]
            hidden_states=torch.cat([step.model_input, *appended], dim=1) if appended else step.model_input,
            timestep=step.timestep.expand(len(step.model_input)),
            encoder_hidden_states=step.text,
            pooled_projections=step.pooled,
            block_controlnet_hidden_states=None if residuals is None else residuals.parts,
            return_dict=False,
        )[0]


class ThreeEncoders:
    """Tokens of both CLIPs side by side, widened, then those of T5; zeros where there is no T5."""

    def __init__(self, clips: tuple[PromptEncoder, PromptEncoder], t5: T5Encoder | None, width: int) -> None:
        self.clips, self.t5, self._width = clips, t5, width

    def modules(self) -> dict[str, Any]:
        """See :class:`..family.TextEncoder`."""
        clips = {"text_encoder": self.clips[0].module, "text_encoder_2": self.clips[1].module}
        return clips if self.t5 is None else {**clips, "text_encoder_3": self.t5.module}

    def forget(self) -> None:
        """See :class:`..family.TextEncoder`."""
        for encoder in (*self.clips, self.t5):
            if encoder is not None:
                encoder.forget()

    def text(self, prompts: Sequence[str], negative: str | None, guidance_scale: float) -> Text:
        """See :class:`..family.TextEncoder`."""
        every = [*prompts] if negative is None else [*prompts, negative]
        length = max(clip.longest(every) for clip in self.clips)

        def tokens(prompt: str) -> torch.Tensor:
            both = torch.cat([clip.extended(prompt, length) for clip in self.clips], dim=-1)
            wide = torch.nn.functional.pad(both, (0, self._width - both.shape[-1]))
            read = wide.new_zeros(1, T5_LENGTH, self._width) if self.t5 is None else self.t5.encode(prompt).to(wide)
            return torch.cat([wide, read], dim=1)

        def pooled(prompt: str) -> torch.Tensor:
            return torch.cat([clip.pooled(prompt) for clip in self.clips], dim=-1)

        return Text(
            torch.cat([tokens(prompt) for prompt in prompts]),
            None if negative is None else tokens(negative),
            guidance_scale,
            torch.cat([pooled(prompt) for prompt in prompts]),
            None if negative is None else pooled(negative),
        )


@dataclass(slots=True)
class LatentControlNet(LoadedControlNet):
    """Sees latents of its picture; their middle, where diffusers draws from their spread, which is next to nothing."""

    model: LoadedModel

    @torch.inference_mode()
    def condition(self, image: AnyArray, kind: str) -> torch.Tensor:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        config = self.net.config
        if kind == "canny" and not config.use_pos_embed:
            # The one of SD 3.5 large was trained on these, diffusers' SD3CannyImageProcessor.
            latents = moments(self.model, pixels * 255.0 * 0.5 + 0.5)[0]
        else:
            latents = moments(self.model, pixels * 2.0 - 1.0)[0]
        if config.force_zeros_for_pooled_projection:
            vae = self.model.vae.config
            latents = latents + vae.shift_factor * vae.scaling_factor  # trained on latents that weren't shifted
        return latents.to(self.net.dtype)

    def run(self, step: Step, shown: Sequence[Shown]) -> Residuals:
        (one,) = shown
        assert step.pooled is not None, "SD 3's prompts have it"
        config = self.net.config
        parts = self.net(
            hidden_states=step.model_input,
            timestep=step.timestep.expand(len(step.model_input)),
            encoder_hidden_states=None if config.joint_attention_dim is None else step.text,
            pooled_projections=step.pooled * 0.0 if config.force_zeros_for_pooled_projection else step.pooled,
            controlnet_cond=one.condition,
            conditioning_scale=one.strength,
            return_dict=False,
        )[0]
        blocks = len(self.model.network.module.transformer_blocks)
        return Residuals([parts[int(block / (blocks / len(parts)))] for block in range(blocks)])


Parts = tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any] | None, Any, Any, Mapping[str, object]]
"""Tokenizer and encoder of both CLIPs and T5, autoencoder, transformer, and the scheduler's configuration."""


@dataclass(frozen=True, slots=True)
class StableDiffusion3:
    """The family seam (:class:`..family.Family`). configs: as for SD 1.5; sizes are told by the weights."""

    configs: Path = CONFIGS / "sd3"

    def load_model(self, entry: ModelEntry, device: Device) -> LoadedModel:
        def load() -> Parts:
            if entry.path.is_file():
                return _from_file(entry, device.wide_dtype, self.configs)
            return _from_folder(entry.path, device.wide_dtype)

        first, second, third, vae, transformer, config = guarded(entry.name, load)
        encoders = [pair[1] for pair in (first, second, third) if pair is not None]
        for module in (*encoders, vae, transformer):
            settle(module, device)
        clips = (PromptEncoder(*first, PENULTIMATE), PromptEncoder(*second, PENULTIMATE))
        t5 = None if third is None else T5Encoder(*third, T5_LENGTH)
        return LoadedModel(
            entry=entry,
            device=device,
            prompt_encoder=ThreeEncoders(clips, t5, transformer.config.joint_attention_dim),
            network=Transformer(transformer),
            vae=vae,
            scheduler_config={**config, "prediction_type": FLOW},
            colours=None if has_cheap_decoder(vae) else LatentColours.of(COLOURS, BIAS),
            preview_vae=preview_vae(entry, device, vae),
        )

    def load_controlnet(self, entry: ControlNetEntry, model: LoadedModel) -> LoadedControlNet:
        transformer = model.network.module
        net = guarded(entry.name, lambda: _controlnet(entry.path, model.network.dtype, self.configs))
        check_fits(net, entry.name, transformer, model.entry.name, SIZES)
        if net.config.extra_conditioning_channels:
            raise ScumbleError(
                ErrorCode.MODEL_INVALID,
                f"{entry.name} is a ControlNet for inpainting, which this version can't run",
                remedy=Remedy("Choose another model", RemedyAction.CHOOSE_MODEL),
            )
        if not net.config.use_pos_embed:
            net.pos_embed = net._get_pos_embed_from_transformer(transformer).to(model.network.dtype)
        settle(net, model.device)
        return LatentControlNet(entry, net, model)


def _from_folder(folder: Path, dtype: torch.dtype) -> Parts:
    return (
        clip_from_folder(folder, "", True, dtype),
        clip_from_folder(folder, "_2", True, dtype),
        t5_from_folder(folder, "_3", dtype) if (folder / "text_encoder_3").is_dir() else None,
        component(AutoencoderKL, folder / "vae", _vae_dtype(dtype)),
        component(SD3Transformer2DModel, folder / "transformer", dtype),
        scheduler_config(folder),
    )


def _from_file(entry: ModelEntry, dtype: torch.dtype, configs: Path) -> Parts:
    """T5's tokenizer isn't in any file; without a folder that lends one, the model does without T5."""
    weights, lender = read_weights(entry.path), entry.lender
    clips = []
    for number, name in (("", "clip_l"), ("_2", "clip_g")):
        state = prefixed(weights, [f"text_encoders.{name}.transformer."])
        if state or lender is None:
            encoder = clip_from_state(state, configs / f"text_encoder{number}", True, dtype)
            clips.append((clip_tokenizer("!" if number else "<|endoftext|>"), encoder))
        else:
            clips.append(clip_from_folder(lender, number, True, dtype))
    return (
        clips[0],
        clips[1],
        _t5(weights, lender, configs, dtype),
        _vae(weights, lender, configs, _vae_dtype(dtype)),
        _transformer(weights, configs, dtype),
        scheduler_config(configs),
    )


def _vae(weights: Mapping[str, torch.Tensor], lender: Path | None, configs: Path, dtype: torch.dtype) -> Any:
    if lender is not None and not any(name.startswith(("vae.", "first_stage_model.")) for name in weights):
        return component(AutoencoderKL, lender / "vae", dtype)
    local = {"config": str(configs), "local_files_only": True}
    return AutoencoderKL.from_single_file(dict(weights), subfolder="vae", torch_dtype=dtype, **local)


def _t5(
    weights: Mapping[str, torch.Tensor], lender: Path | None, configs: Path, dtype: torch.dtype
) -> tuple[Any, Any] | None:
    if lender is None or not (lender / "tokenizer_3").is_dir():
        return None
    state = prefixed(weights, ["text_encoders.t5xxl.transformer."])
    if not state:
        return t5_from_folder(lender, "_3", dtype) if (lender / "text_encoder_3").is_dir() else None
    return t5_tokenizer(lender / "tokenizer_3"), t5_from_state(state, configs / "text_encoder_3", dtype)


def _transformer(weights: Mapping[str, torch.Tensor], configs: Path, dtype: torch.dtype) -> Any:
    prefix = "model.diffusion_model." if "model.diffusion_model.pos_embed" in weights else ""
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    state = convert_sd3_transformer_checkpoint_to_diffusers(
        {name: tensor for name, tensor in own.items() if not name.startswith(("first_stage_model.", "text_encoders."))}
    )
    config = config_of(configs / "transformer")
    hidden = state["context_embedder.weight"].shape[0]
    sizes = {
        "num_layers": count_blocks(state, "transformer_blocks."),
        "num_attention_heads": hidden // int(config["attention_head_dim"]),
        "caption_projection_dim": hidden,
        "pos_embed_max_size": round(state["pos_embed.pos_embed"].shape[1] ** 0.5),
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in state else None,
        "dual_attention_layers": [
            block
            for block in range(count_blocks(state, "transformer_blocks."))
            if f"transformer_blocks.{block}.attn2.to_q.weight" in state
        ],
    }
    return from_state(SD3Transformer2DModel, {**config, **sizes}, state, dtype)


def _controlnet(path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_dir():
        return component(SD3ControlNetModel, path, dtype)
    state = load_file(path)
    config = config_of(configs / "controlnet")
    has_text, has_places = "context_embedder.weight" in state, "pos_embed.proj.weight" in state
    hidden = state["pos_embed_input.proj.weight"].shape[0]
    sizes = {
        "num_layers": count_blocks(state, "transformer_blocks."),
        "num_attention_heads": hidden // int(config["attention_head_dim"]),
        "caption_projection_dim": hidden,
        "joint_attention_dim": state["context_embedder.weight"].shape[1] if has_text else None,
        "extra_conditioning_channels": state["pos_embed_input.proj.weight"].shape[1] - int(config["in_channels"]),
        "use_pos_embed": has_places,
        "pos_embed_type": "sincos" if has_places else None,
        "force_zeros_for_pooled_projection": has_text,
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in state else None,
    }
    if has_places:
        sizes["pos_embed_max_size"] = round(state["pos_embed.pos_embed"].shape[1] ** 0.5)
    return from_state(SD3ControlNetModel, {**config, **sizes}, state, dtype)


def _vae_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype
