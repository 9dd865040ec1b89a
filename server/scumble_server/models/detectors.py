"""Folders of models that make control images of a picture: what they are, and whether they are whole.

depth          transformers' DepthAnything and DPT (MiDaS), diffusers' MarigoldDepthPipeline
normal         diffusers' MarigoldNormalsPipeline
segmentation   transformers' UperNet and SegFormer, of ADE20K's 150 kinds of things
openpose       transformers' ViTPose, of COCO's 17 points
people         transformers' RT-DETR and YOLOS: where people are, for ViTPose to look at them one by one
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .folders import check_weights
from .manifest import read_json
from .safetensors_header import BadFileError

__all__ = ["MARIGOLD", "NETWORKS", "PERSON", "detector_class", "is_detector_folder", "read_detector_folder"]

NETWORKS: Mapping[str, str] = {
    "DepthAnythingForDepthEstimation": "depth",
    "DPTForDepthEstimation": "depth",
    "UperNetForSemanticSegmentation": "segmentation",
    "SegformerForSemanticSegmentation": "segmentation",
    "VitPoseForPoseEstimation": "openpose",
    "RTDetrForObjectDetection": "people",
    "RTDetrV2ForObjectDetection": "people",
    "YolosForObjectDetection": "people",
}
"""Class of transformers -> kind of control; "people" is none by itself."""

MARIGOLD: Mapping[str, str] = {"MarigoldDepthPipeline": "depth", "MarigoldNormalsPipeline": "normal"}
"""Pipeline of diffusers -> kind of control."""

LABELS = {"segmentation": 150, "openpose": 17}
"""How many kinds of things, or points, a network must tell apart for its answer to be understood."""

PERSON = "person"
"""What networks that find things call people."""

PARTS = ("unet", "vae", "text_encoder")


def detector_class(folder: Path) -> str:
    """Its network or pipeline, "" if it is no detector."""
    try:
        pipeline = str(read_json(folder / "model_index.json").get("_class_name", ""))
        networks = read_json(folder / "config.json").get("architectures")
    except BadFileError:
        return ""
    if pipeline:
        return pipeline if pipeline in MARIGOLD else ""
    network = networks[0] if isinstance(networks, list) and networks else ""
    return network if isinstance(network, str) and network in NETWORKS else ""


def is_detector_folder(folder: Path) -> bool:
    return bool(detector_class(folder))


def read_detector_folder(folder: Path) -> str:
    """The kind of control it makes. Raises BadFileError if it is damaged, or tells apart what nobody here knows."""
    name = detector_class(folder)
    if name in MARIGOLD:
        for part in PARTS:
            check_weights(folder / part, part)
        if not (folder / "tokenizer").is_dir():
            raise BadFileError("the folder tokenizer is missing")
        index = read_json(folder / "model_index.json")
        for key in ("default_denoising_steps", "default_processing_resolution"):
            if not isinstance(index.get(key), int):
                raise BadFileError(f"model_index.json doesn't say {key}; get a newer version of it")
        return MARIGOLD[name]
    check_weights(folder, folder.name)
    if not (folder / "preprocessor_config.json").is_file():
        raise BadFileError("preprocessor_config.json is missing, which says how pictures are shown to it")
    kind, config = NETWORKS[name], read_json(folder / "config.json")
    if config.get("use_pretrained_backbone"):
        raise BadFileError("it isn't whole: it would fetch a part of itself when it is loaded")
    labels, known = config.get("id2label"), LABELS.get(kind)
    if kind == "people" and not (isinstance(labels, dict) and PERSON in labels.values()):
        raise BadFileError("it finds things, but no people")
    count = len(labels) if isinstance(labels, dict) else 2  # transformers doesn't write the usual number down
    if known is not None and count != known:
        what = "kinds of things; ADE20K's" if kind == "segmentation" else "points; COCO's"
        raise BadFileError(f"it tells {count} {what} {known} are needed")
    return kind
