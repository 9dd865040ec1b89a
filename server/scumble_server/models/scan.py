"""Looks through folders for models and ControlNets. Nothing is executed, and no weights are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from scumble_shared.control_names import kinds_named
from scumble_shared.job import DEFAULT_MODEL
from scumble_shared.runtime import models_dir

from .adapters import is_encoder_folder, read_encoder_folder, with_encoders
from .builtin import SEEDED_MANIFEST, builtin_folder
from .detect import Weights, detect
from .detectors import is_detector_folder, read_detector_folder
from .entries import (
    AdapterEntry,
    ControlNetEntry,
    DetectorEntry,
    EncoderEntry,
    EstimatorEntry,
    LoraEntry,
    ModelEntry,
    UnusableEntry,
    UpscalerEntry,
)
from .families import FLUX_UNION_PRO_KINDS, family_name, runs_like, usual
from .few_steps import few_steps
from .folder_list import with_added
from .folders import (
    check_weights,
    is_controlnet_folder,
    is_model_folder,
    is_preview_folder,
    read_controlnet_folder,
    read_model_folder,
    read_preview_folder,
)
from .gguf_header import read_gguf_header
from .index import ModelIndex
from .intrinsics import is_estimator_folder, read_estimator_folder
from .manifest import MANIFEST_NAME, Manifest, parse_manifest, read_json
from .noise import as_named
from .places import roots_of
from .previews import previews_for
from .safetensors_header import BadFileError, read_header, read_metadata
from .upscalers import can_run_upscalers

__all__ = ["default_model_dirs", "scan"]

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
GGUF = ".gguf"
PACKED_FAMILIES = ("flux", "sd3")
MAX_DEPTH = 5


def default_model_dirs() -> tuple[Path, ...]:
    """Folders searched when none are named: $SCUMBLE_MODELS (several, as in $PATH), else the user's data folder."""
    if named := os.environ.get("SCUMBLE_MODELS"):
        return tuple(Path(part) for part in named.split(os.pathsep) if part)
    return (models_dir(),)


def scan(model_dirs: tuple[Path, ...] = (), builtin: bool = True) -> ModelIndex:
    """The built-in model (if wanted) and what lies under ``model_dirs``, up to five folders deep, and under the folders
    that their lists name (:mod:`.folder_list`); of other programs' folders what may be models (:mod:`.places`).

    Folders that don't exist are empty. The order, and with it the numbering of equal names, is that of the paths.
    """
    collector = _Collector()
    if builtin:
        collector.add_builtin(builtin_folder())
    for folder in with_added(model_dirs):
        for root in roots_of(folder):
            for path in (root.path,) if root.name else _candidates(root.path, MAX_DEPTH):
                collector.add(path, root.name)
    return collector.index()


class _Collector:
    def __init__(self) -> None:
        self.models: list[ModelEntry] = []
        self.controlnets: list[ControlNetEntry] = []
        self.unusable: list[UnusableEntry] = []
        self.upscalers: list[UpscalerEntry] = []
        self.estimators: list[EstimatorEntry] = []
        self.loras: list[LoraEntry] = []
        self.adapters: list[AdapterEntry] = []
        self.encoders: list[EncoderEntry] = []
        self.detectors: list[DetectorEntry] = []
        self._parts: list[ModelEntry] = []  # single files that lack something
        self._preview_vaes: dict[str, Path] = {}
        self._ids = {DEFAULT_MODEL}

    def index(self) -> ModelIndex:
        """What was found; models that lack something are whole by now, or can't be used."""
        models = [*self.models]
        for part in self._parts:
            lender = next((m.path for m in self.models if m.family == part.family and m.path.is_dir()), None)
            if lender is not None:
                models.append(replace(part, lender=lender))
                continue
            named = family_name(part.family)
            reason = f"it lacks parts; a complete {named} in a diffusers folder must lie beside it, to lend them"
            self.unusable.append(UnusableEntry(part.id, part.name, part.path, reason))
        models = [replace(model, preview_vae=self._preview_vaes.get(model.family)) for model in models]
        return ModelIndex(
            tuple(models),
            tuple(self.controlnets),
            tuple(self.unusable),
            tuple(self.upscalers),
            tuple(self.estimators),
            tuple(self.loras),
            tuple(with_encoders(self.adapters, self.encoders)),
            tuple(self.encoders),
            tuple(self.detectors),
        )

    def add_builtin(self, folder: Path) -> None:
        try:
            if folder.exists():
                manifest = parse_manifest(read_json(folder / MANIFEST_NAME))
                weights = read_model_folder(folder)
            else:  # the seeded stand-in, written when it is first loaded
                manifest, weights = parse_manifest(SEEDED_MANIFEST), Weights("checkpoint", "starter")
            self.models.append(_model(folder, DEFAULT_MODEL, "Starter", weights, manifest))
        except BadFileError as error:
            self.unusable.append(UnusableEntry(DEFAULT_MODEL, "Starter", folder, str(error)))

    def add(self, path: Path, name: str = "") -> None:
        """name: "" takes that of the file or folder."""
        name = name or (path.stem if path.is_file() else path.name)
        entry_id = self._unique_id(name)
        try:
            if is_estimator_folder(path):
                manifest = parse_manifest(read_json(path / MANIFEST_NAME))
                maps = read_estimator_folder(path)
                self.estimators.append(EstimatorEntry(entry_id, manifest.name or name, maps, path))
                return
            if is_detector_folder(path):
                manifest, kind = parse_manifest(read_json(path / MANIFEST_NAME)), read_detector_folder(path)
                self.detectors.append(DetectorEntry(entry_id, manifest.name or name, kind, path))
                return
            if is_preview_folder(path):
                self._preview_vaes[read_preview_folder(path)] = path
                return
            weights, manifest = _read(path)
            if weights.role == "upscaler":
                self._add_upscaler(path, entry_id, manifest.name or name)
                return
            if weights.role == "encoder":
                self.encoders.append(EncoderEntry(entry_id, manifest.name or name, path, *weights.widths))
                return
            if weights.role == "preview":
                self._preview_vaes[previews_for(path.stem, weights.in_channels)] = path
                return
            family = manifest.family or weights.family
            if not runs_like(family):
                raise BadFileError(f"it is for {family_name(family)}, which this version can't run")
            if weights.role == "controlnet":
                self.controlnets.append(_controlnet(path, entry_id, name, weights, manifest))
            elif weights.role == "adapter":
                self.adapters.append(_adapter(path, entry_id, name, weights, manifest))
            elif weights.role == "lora":
                self.loras.append(_lora(path, entry_id, name, family, manifest))
            else:
                models = self.models if weights.is_whole else self._parts
                models.append(_model(path, entry_id, name, weights, manifest))
        except BadFileError as error:
            self.unusable.append(UnusableEntry(entry_id, name, path, str(error)))

    def _add_upscaler(self, path: Path, entry_id: str, name: str) -> None:
        if not can_run_upscalers():
            raise BadFileError(
                'upscaling networks need a package that isn\'t installed here: pip install "scumble[upscale]"'
            )
        self.upscalers.append(UpscalerEntry(entry_id, name, path))

    def _unique_id(self, name: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "model"
        unique, count = slug, 1
        while unique in self._ids:
            count += 1
            unique = f"{slug}-{count}"
        self._ids.add(unique)
        return unique


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    """Files and folders that claim to be models; a diffusers folder counts as one, whatever is inside."""
    try:
        children = sorted(folder.iterdir())
    except OSError:  # doesn't exist, or isn't ours to read
        return
    for path in children:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if _is_one(path):
                yield path
            elif depth > 1:
                yield from _candidates(path, depth - 1)
        elif path.suffix.lower() in (".safetensors", GGUF, *PICKLES):
            yield path


def _is_one(folder: Path) -> bool:
    """Whether it is a model as a whole."""
    kinds = (is_model_folder, is_controlnet_folder, is_preview_folder, is_encoder_folder, is_detector_folder)
    return any(is_kind(folder) for is_kind in kinds)


def _read(path: Path) -> tuple[Weights, Manifest]:
    if path.is_dir():
        manifest = parse_manifest(read_json(path / MANIFEST_NAME))
        if is_encoder_folder(path):
            check_weights(path, path.name)
            return Weights("encoder", "", widths=read_encoder_folder(path)), manifest
        return (read_model_folder(path) if is_model_folder(path) else read_controlnet_folder(path)), manifest
    if path.suffix.lower() in PICKLES:
        raise BadFileError("files of this kind can run code when opened; convert it to .safetensors")
    weights = _packed(path) if path.suffix.lower() == GGUF else detect(read_header(path), read_metadata(path))
    return weights, parse_manifest(read_json(path.with_suffix(".json")))


def _packed(path: Path) -> Weights:
    """Of a file whose weights are quantized."""
    weights = detect(read_gguf_header(path))
    if weights.role != "checkpoint" or weights.family not in PACKED_FAMILIES:
        raise BadFileError("of .gguf files only the transformers of FLUX and Stable Diffusion 3 can be used")
    if find_spec("gguf") is None:
        raise BadFileError('quantized files need a package that isn\'t installed here: pip install "scumble[quantize]"')
    return weights


def _model(path: Path, entry_id: str, name: str, weights: Weights, manifest: Manifest) -> ModelEntry:
    family = manifest.family or weights.family
    own_weights, usually = Weights("controlnet", family), usual(family)
    quick = few_steps(name, family, weights.takes_guidance)
    own = {
        kind: _controlnet(path / f"controlnet_{kind}", f"{entry_id}-{kind}", f"{name} {kind}", own_weights, Manifest())
        for kind in manifest.control_kinds
        if (path / f"controlnet_{kind}").is_dir() or not path.exists()
    }
    single_file = path.is_file()
    weights = as_named(weights, name, family) if single_file else weights
    return ModelEntry(
        id=entry_id,
        name=manifest.name or name,
        family=family,
        path=path,
        sampler=manifest.sampler or (quick or usually).sampler,
        num_inference_steps=manifest.num_inference_steps or (quick or usually).num_inference_steps,
        guidance_scale=(quick or usually).guidance_scale
        if manifest.guidance_scale is None
        else manifest.guidance_scale,
        width=manifest.width or usually.side,
        height=manifest.height or usually.side,
        note=manifest.note or (f"{quick.way}: made for few steps" if quick else ""),
        timestep_spacing=quick.timestep_spacing if quick else "",
        in_channels=weights.in_channels,
        prediction_type=manifest.prediction_type or (weights.prediction_type if single_file else None),
        zero_terminal_snr=weights.zero_terminal_snr
        if single_file and not manifest.zero_terminal_snr
        else manifest.zero_terminal_snr,
        controlnets=own,
    )


def _controlnet(path: Path, entry_id: str, name: str, weights: Weights, manifest: Manifest) -> ControlNetEntry:
    family = manifest.family or weights.family
    kinds = manifest.control_kinds or weights.kinds or _named_kinds(name, family)
    return ControlNetEntry(entry_id, manifest.name or name, family, kinds, path)


def _named_kinds(name: str, family: str) -> tuple[str, ...]:
    """FLUX's ControlNet-Union Pro 2.0 is told nothing of the kind, so that only its name says it is one."""
    is_union = family == "flux" and "union" in re.split(r"[^a-z]+", name.lower())
    return FLUX_UNION_PRO_KINDS if is_union else kinds_named(name)


def _adapter(path: Path, entry_id: str, name: str, weights: Weights, manifest: Manifest) -> AdapterEntry:
    family, (width,) = manifest.family or weights.family, weights.widths
    return AdapterEntry(entry_id, manifest.name or name, family, path, weights.reads, width)


def _lora(path: Path, entry_id: str, name: str, family: str, manifest: Manifest) -> LoraEntry:
    entry = LoraEntry(entry_id, manifest.name or name, family, path)
    quick = few_steps(name, family, is_lora=True)
    if quick is None:
        return entry
    return replace(
        entry,
        weight=quick.weight,
        way=quick.way,
        sampler=manifest.sampler or quick.sampler,
        num_inference_steps=manifest.num_inference_steps or quick.num_inference_steps,
        guidance_scale=quick.guidance_scale if manifest.guidance_scale is None else manifest.guidance_scale,
        timestep_spacing=quick.timestep_spacing,
    )
