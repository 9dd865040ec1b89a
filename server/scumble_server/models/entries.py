"""What the index holds: usable models, usable ControlNets, and files that can't be used with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "AdapterEntry",
    "ControlNetEntry",
    "DetectorEntry",
    "EncoderEntry",
    "EstimatorEntry",
    "LoraEntry",
    "ModelEntry",
    "UnusableEntry",
    "UpscalerEntry",
]


@dataclass(frozen=True, slots=True)
class ControlNetEntry:
    """A ControlNet on disk. path: a diffusers folder, or a single file. kinds: () where nothing tells."""

    id: str
    name: str
    family: str
    kinds: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model on disk. path: a diffusers folder, or a single file.

    family: models and ControlNets go together if it is equal. controlnets: those that came inside the model's own
    folder, by kind. in_channels: of the UNet; 9 is an inpainting model. prediction_type, zero_terminal_snr: None
    leaves it to the folder's own scheduler settings, as does "" for timestep_spacing. lender: a diffusers folder of the
    family that has what a single file lacks. preview_vae: AutoencoderTiny for the family, a folder,
    or a file of its decoder.
    """

    id: str
    name: str
    family: str
    path: Path
    sampler: str = "dpmpp_2m_karras"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    width: int = 512
    height: int = 512
    note: str = ""
    in_channels: int = 4
    prediction_type: str | None = None
    zero_terminal_snr: bool | None = None
    controlnets: Mapping[str, ControlNetEntry] = field(default_factory=dict)
    lender: Path | None = None
    timestep_spacing: str = ""
    preview_vae: Path | None = None


@dataclass(frozen=True, slots=True)
class LoraEntry:
    """A LoRA on disk, a single file. way: "" or how it saves steps, as people call it; weight, sampler and so on: what
    suits it then, "" and 0 where it is as without."""

    id: str
    name: str
    family: str
    path: Path
    weight: float = 1.0
    way: str = ""
    sampler: str = ""
    num_inference_steps: int = 0
    guidance_scale: float = 0.0
    timestep_spacing: str = ""


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """What turns a picture into numbers for IP-Adapters: CLIP's, a folder of transformers or a single file. hidden,
    projection: widths of what comes out."""

    id: str
    name: str
    path: Path
    hidden: int
    projection: int


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """An IP-Adapter on disk, a single file. reads: of its image encoder the "projection", one for the whole picture, or
    "hidden", its last layers but one, a part of the picture each. width: of that. encoder: None if none of that width
    was found."""

    id: str
    name: str
    family: str
    path: Path
    reads: str
    width: int
    encoder: EncoderEntry | None = None


@dataclass(frozen=True, slots=True)
class UpscalerEntry:
    """An upscaling network on disk, a single file."""

    id: str
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class EstimatorEntry:
    """A diffusers folder that tells maps of a material from a picture. maps: of ``scumble_shared.job.MAPS``."""

    id: str
    name: str
    maps: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """A folder of transformers or diffusers that makes control images of a picture. kind: of control, or "people": it
    finds them, so that poses can be read of each."""

    id: str
    name: str
    kind: str
    path: Path


@dataclass(frozen=True, slots=True)
class UnusableEntry:
    """A file or folder that looks like a model and isn't one we can use. reason: for its owner."""

    id: str
    name: str
    path: Path
    reason: str
