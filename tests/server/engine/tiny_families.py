"""Models of every family with random weights: the real classes, layouts and names, a few channels wide.

Layers that training starts at zero are set going, so that nothing is right by adding nothing. The autoencoders of SD 3
and FLUX have no spread to speak of, for diffusers draws a ControlNet's latents from it without a seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    ControlNetUnionModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from scumble_server.models.seeded import WORDS
from scumble_server.models.tokenizer import learn_merges, write_tokenizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

SPREADLESS = -30.0


def write_sdxl(folder: Path, in_channels: int = 4) -> None:
    with _seeded(11):
        _clip(folder, "", CLIPTextModel)
        _clip(folder, "_2", CLIPTextModelWithProjection)
        _vae(4, scaling_factor=0.13025).save_pretrained(folder / "vae")
        unet = sdxl_unet(in_channels)
        unet.save_pretrained(folder / "unet")
        for kind in ("depth", "normal"):
            net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 32))
            _going(net).save_pretrained(folder / f"controlnet_{kind}")
        _going(sdxl_union(unet)).save_pretrained(folder / "controlnet_union")
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    EulerDiscreteScheduler(**schedule, timestep_spacing="leading").save_pretrained(folder / "scheduler")
    _index(folder, "StableDiffusionXLPipeline")


def write_sd3(folder: Path, t5: bool = True, **sizes: Any) -> None:
    with _seeded(12):
        _clip(folder, "", CLIPTextModelWithProjection)
        _clip(folder, "_2", CLIPTextModelWithProjection)
        if t5:
            _t5(folder, "_3")
        _vae(16, scaling_factor=1.5305, shift_factor=0.0609).save_pretrained(folder / "vae")
        transformer = SD3Transformer2DModel(
            sample_size=16,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=80,
            pooled_projection_dim=64,
            pos_embed_max_size=24,
            **sizes,
        )
        transformer.save_pretrained(folder / "transformer")
        for kind, layers in (("depth", 2), ("normal", 2), ("short", 1)):
            net = SD3ControlNetModel.from_transformer(transformer, layers, num_extra_conditioning_channels=0)
            _going(net).save_pretrained(folder / f"controlnet_{kind}")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    _index(folder, "StableDiffusion3Pipeline")


def write_flux(folder: Path, guidance_embeds: bool = True) -> None:
    with _seeded(13):
        _clip(folder, "", CLIPTextModel)
        _t5(folder, "_2")
        _vae(16, scaling_factor=0.3611, shift_factor=0.1159).save_pretrained(folder / "vae")
        sizes = {
            "in_channels": 64,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 80,
            "pooled_projection_dim": 32,
            "guidance_embeds": guidance_embeds,
            "axes_dims_rope": (4, 4, 8),
        }
        FluxTransformer2DModel(num_layers=3, num_single_layers=2, **sizes).save_pretrained(folder / "transformer")
        for kind, layers, singles in (("depth", 2, 1), ("normal", 2, 1), ("short", 1, 0)):
            net = FluxControlNetModel(num_layers=layers, num_single_layers=singles, **sizes)
            _going(net).save_pretrained(folder / f"controlnet_{kind}")
        union = FluxControlNetModel(num_layers=2, num_single_layers=0, num_mode=10, **sizes)
        _going(union).save_pretrained(folder / "controlnet_union")
    dynamic = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
    settings = dynamic if guidance_embeds else {"shift": 1.0}
    FlowMatchEulerDiscreteScheduler(**settings).save_pretrained(folder / "scheduler")
    _index(folder, "FluxPipeline")


def write_tiny_vae(folder: Path, latent_channels: int) -> None:
    with _seeded(14):
        AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
            latent_channels=latent_channels,
        ).save_pretrained(folder)


def sdxl_unet(in_channels: int = 4) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )


def sdxl_union(unet: UNet2DConditionModel) -> ControlNetUnionModel:
    keys = (
        "in_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "down_block_types",
        "attention_head_dim", "use_linear_projection", "transformer_layers_per_block", "cross_attention_dim",
        "addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim",
    )  # fmt: skip
    union = ControlNetUnionModel(
        **{key: unet.config[key] for key in keys},
        conditioning_embedding_out_channels=(8, 16, 16, 32),
        num_control_type=8,
        num_trans_channel=32,
        num_trans_head=4,
        num_proj_channel=32,
    )
    torch.nn.init.normal_(union.spatial_ch_projs.weight, std=0.2)
    return union


# --- parts --------------------------------------------------------------------------------------------


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        yield


def _going(net: Any) -> Any:
    """Sets what is zero going, and makes images matter."""
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.3 / parameter[0].numel() ** 0.5)
        if "cond_embedding" in name and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
    return net


def _clip(folder: Path, number: str, kind: Any) -> None:
    vocab_size = write_tokenizer(folder / f"tokenizer{number}", learn_merges(WORDS, 100))
    config = CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    kind(config).save_pretrained(folder / f"text_encoder{number}")


def _t5(folder: Path, number: str) -> None:
    letters = [(f"▁{word}", -2.0) for word in sorted(set(WORDS))] + [(chr(97 + index), -8.0) for index in range(26)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0), *letters]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=0)
    tokenizer.save_pretrained(folder / f"tokenizer{number}")
    config = T5Config(
        vocab_size=len(vocab), d_model=80, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    T5EncoderModel(config).save_pretrained(folder / f"text_encoder{number}")


def _vae(channels: int, **scaling: float) -> AutoencoderKL:
    is_new = channels == 16
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=channels,
        use_quant_conv=not is_new,
        use_post_quant_conv=not is_new,
        force_upcast=False,
        **scaling,
    )
    if is_new:
        with torch.no_grad():
            vae.encoder.conv_out.weight[channels:] = 0.0
            vae.encoder.conv_out.bias[channels:] = SPREADLESS
    return vae


def _index(folder: Path, pipeline: str) -> None:
    text: Mapping[str, object] = {"_class_name": pipeline}
    (folder / "model_index.json").write_text(json.dumps(text), encoding="utf-8")
    manifest = {"name": folder.name, "control_kinds": ["depth", "normal"], "width": 64, "height": 64}
    (folder / "scumble_model.json").write_text(json.dumps(manifest), encoding="utf-8")
