"""Transformers' and diffusers' own detector classes at tiny size with random weights, saved as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    MarigoldDepthPipeline,
    MarigoldNormalsPipeline,
    UNet2DConditionModel,
)
from scumble_server.models.seeded import write_seeded_model
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessorPil,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessorPil,
)

__all__ = ["NETWORKS", "write_marigold", "write_network"]


def _dinov2() -> Any:
    return Dinov2Config(
        image_size=28,
        patch_size=14,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
    )


def depth_anything(kind: str = "relative") -> Any:
    config = DepthAnythingConfig(
        backbone_config=_dinov2(),
        patch_size=14,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=10 if kind == "metric" else 1,
    )
    network = DepthAnythingForDepthEstimation(config)
    torch.nn.init.normal_(network.head.conv3.weight, std=20.0)  # or it would tell one depth everywhere
    return network, DPTImageProcessorPil(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14
    )


def dpt() -> Any:
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    return DPTForDepthEstimation(config), DPTImageProcessorPil(size={"height": 32, "width": 32})


def upernet(labels: int = 150) -> Any:
    backbone = ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=8,
        pool_scales=[1, 2],
        use_auxiliary_head=False,
        num_labels=labels,
    )
    return UperNetForSemanticSegmentation(config), SegformerImageProcessorPil(size={"height": 64, "width": 64})


def segformer(labels: int = 150) -> Any:
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        num_labels=labels,
    )
    return SegformerForSemanticSegmentation(config), SegformerImageProcessorPil(size={"height": 64, "width": 64})


def vitpose(experts: int = 1) -> Any:
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_experts=experts,
        part_features=8 if experts > 1 else 0,
        out_indices=[2],
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=True, scale_factor=4)
    network = VitPoseForPoseEstimation(config)
    torch.nn.init.constant_(network.head.conv.bias, 1.0)  # sure of every point, wherever it may be
    return network, VitPoseImageProcessorPil(size={"height": 64, "width": 48})


def yolos() -> Any:
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 48],
        patch_size=16,
        num_detection_tokens=3,
        id2label={0: "person", 1: "chair"},
        label2id={"person": 0, "chair": 1},
    )
    network = YolosForObjectDetection(config)
    for name, values in (("class_labels_classifier", (9.0, 0.0, 0.0)), ("bbox_predictor", (0.5, 0.5, 0.4, 0.8))):
        last = getattr(network, name).layers[-1]
        torch.nn.init.normal_(last.weight, std=0.3 if name == "bbox_predictor" else 0.0)
        last.bias.copy_(torch.tensor(values) if name == "class_labels_classifier" else torch.tensor(values).logit())
    return network, YolosImageProcessorPil(size={"height": 32, "width": 48})


NETWORKS = {
    "depth-anything": depth_anything,
    "depth-anything-metric": lambda: depth_anything("metric"),
    "dpt": dpt,
    "upernet": upernet,
    "segformer": segformer,
    "vitpose": vitpose,
    "vitpose-plus": lambda: vitpose(6),
    "yolos": yolos,
}


def write_network(folder: Path, name: str, **options: Any) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        network, processor = NETWORKS[name](**options)
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def write_marigold(folder: Path, kind: str) -> None:
    """kind: "normals" or "depth"."""
    pipeline = {"normals": MarigoldNormalsPipeline, "depth": MarigoldDepthPipeline}[kind]
    parts = folder.with_name(f"{folder.name}-parts")
    write_seeded_model(parts)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=8,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=64,
            attention_head_dim=8,
        )
    pipeline(
        unet,
        AutoencoderKL.from_pretrained(parts / "vae"),
        DDIMScheduler(prediction_type="v_prediction", clip_sample=False, rescale_betas_zero_snr=True),
        CLIPTextModel.from_pretrained(parts / "text_encoder"),
        CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        prediction_type=kind,
        default_denoising_steps=2,
        default_processing_resolution=64,
    ).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == pipeline.__name__
