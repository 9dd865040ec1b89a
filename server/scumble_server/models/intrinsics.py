"""Diffusers folders of pipelines that take pictures apart into maps: what they tell, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .folders import check_weights
from .manifest import read_json
from .safetensors_header import BadFileError

__all__ = ["PIPELINE", "Told", "is_estimator_folder", "read_estimator_folder", "told_by"]

PIPELINE = "MarigoldIntrinsicsPipeline"
COMPONENTS = ("unet", "vae", "text_encoder")
NAMES = {"albedo": "albedo", "roughness": "roughness", "metallicity": "metallic", "metallic": "metallic"}
"""What pipelines call maps -> what they are called here."""


@dataclass(frozen=True, slots=True)
class Told:
    """Where a map is in a prediction. target: which picture. channel: of it; None is all three. linear: whether the
    values are (else sRGB). up_to_scale: whether only their proportions are meant."""

    target: int
    channel: int | None
    linear: bool
    up_to_scale: bool


def is_estimator_folder(folder: Path) -> bool:
    if not (folder / "model_index.json").is_file():
        return False
    try:
        return read_json(folder / "model_index.json").get("_class_name") == PIPELINE
    except BadFileError:
        return False


def read_estimator_folder(folder: Path) -> tuple[str, ...]:
    """The maps it tells, of ``scumble_shared.job.MAPS``. Raises BadFileError if it is damaged, or tells none."""
    for component in COMPONENTS:
        check_weights(folder / component, component)
    if not (folder / "tokenizer").is_dir():
        raise BadFileError("the folder tokenizer is missing")
    index = read_json(folder / "model_index.json")
    for key in ("default_denoising_steps", "default_processing_resolution"):
        if not isinstance(index.get(key), int):
            raise BadFileError(f"model_index.json doesn't say {key}")
    targets = index.get("target_properties")
    told = told_by(targets if isinstance(targets, dict) else {})
    latents = read_json(folder / "vae" / "config.json").get("latent_channels", 4)
    unet = read_json(folder / "unet" / "config.json")
    count = len(_names(targets))
    if not isinstance(latents, int) or unet.get("out_channels") != count * latents:
        raise BadFileError(f"its UNet doesn't make {count} pictures, as model_index.json has it")
    if unet.get("in_channels") != (count + 1) * latents:
        raise BadFileError(f"its UNet doesn't look at a picture and {count} others")
    if not told:
        raise BadFileError(f"it tells {', '.join(_names(targets)) or 'nothing'}, none of which is a map of a material")
    return tuple(told)


def told_by(targets: Mapping[str, object]) -> dict[str, Told]:
    """Where each map is, by its name here. targets: ``target_properties`` of the pipeline."""
    found = {}
    for place, name in enumerate(_names(targets)):
        own = _properties(targets, name)
        parts = own.get("sub_target_names")
        if own.get("prediction_space") == "stack" and isinstance(parts, list):
            for channel, part in enumerate(parts[:3]):
                if part in NAMES:
                    found[NAMES[part]] = _told(_properties(targets, part), place, channel)
        elif name in NAMES:
            found[NAMES[name]] = _told(own, place, None if name == "albedo" else 0)
    return found


def _told(own: Mapping[str, object], target: int, channel: int | None) -> Told:
    return Told(target, channel, own.get("prediction_space") == "linear", own.get("up_to_scale") is True)


def _names(targets: object) -> list[str]:
    names = targets.get("target_names") if isinstance(targets, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _properties(targets: Mapping[str, object], name: str) -> Mapping[str, object]:
    own = targets.get(name)
    return own if isinstance(own, dict) else {}
