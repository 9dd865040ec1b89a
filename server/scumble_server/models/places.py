"""Where other programs keep their models, so that they are read where they are.

    ComfyUI         FOLDER/models/{checkpoints,controlnet,loras,...}, or that "models" folder itself
    AUTOMATIC1111   FOLDER/models/{Stable-diffusion,Lora,...} and its ControlNet extension's; Forge, too
    Hugging Face    FOLDER/models--OWNER--NAME/snapshots/COMMIT/..., whose files are links into FOLDER/.../blobs

Nothing in such a folder is ever written to or deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .adapters import is_encoder_folder
from .detectors import is_detector_folder
from .folders import is_controlnet_folder, is_model_folder

__all__ = ["COMFYUI", "HUGGING_FACE", "WEBUI", "Root", "likely_places", "program_of", "roots_of"]

COMFYUI, WEBUI, HUGGING_FACE = "ComfyUI", "AUTOMATIC1111", "Hugging Face"

COMFYUI_FOLDERS = (
    "checkpoints",
    "diffusers",
    "diffusion_models",
    "unet",
    "controlnet",
    "loras",
    "vae",
    "vae_approx",
    "upscale_models",
    "ipadapter",
    "clip_vision",
)
"""Under its "models"; others hold text encoders and much else that is no model by itself."""

WEBUI_FOLDERS = (
    "models/Stable-diffusion",
    "models/ControlNet",
    "extensions/sd-webui-controlnet/models",
    "models/Lora",
    "models/VAE",
    "models/VAE-approx",
    "models/ESRGAN",
    "models/RealESRGAN",
)


ADAPTER_FOLDERS = ("models", "sdxl_models")
"""Of the repository that IP-Adapters come from, with their image encoders."""


@dataclass(frozen=True, slots=True)
class Root:
    """A place to look. name: "" for a folder to be looked through; else ``path`` is itself a model of this name."""

    path: Path
    name: str = ""


def program_of(folder: Path) -> str:
    """Whose folder it is, "" for nobody's in particular."""
    if (folder / "models" / "checkpoints").is_dir() or (folder.name == "models" and (folder / "checkpoints").is_dir()):
        return COMFYUI
    if (folder / "models" / "Stable-diffusion").is_dir():
        return WEBUI
    return HUGGING_FACE if any(True for _ in _repositories(folder)) else ""


def roots_of(folder: Path) -> tuple[Root, ...]:
    """What to look at in ``folder``; of other programs' folders only what may hold models."""
    program = program_of(folder)
    if program == COMFYUI:
        base = folder if (folder / "checkpoints").is_dir() else folder / "models"
        return tuple(Root(base / name) for name in COMFYUI_FOLDERS if (base / name).is_dir())
    if program == WEBUI:
        return tuple(Root(folder / name) for name in WEBUI_FOLDERS if (folder / name).is_dir())
    if program == HUGGING_FACE:
        return tuple(root for repository in _repositories(folder) for root in _snapshot(repository))
    return (Root(folder),)


def _repositories(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "hub"):
        try:
            found = sorted(place.glob("models--*--*"))
        except OSError:
            continue
        yield from (path for path in found if (path / "snapshots").is_dir())


def _snapshot(repository: Path) -> Iterator[Root]:
    """The models in the commit that "main" was when it was fetched last, else in the latest that is there."""
    name = repository.name.split("--")[-1]
    commits = sorted((repository / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    try:
        main = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    commit = next((path for path in commits if path.name == main), commits[0] if commits else None)
    if commit is None:
        return
    if any(is_one(commit) for is_one in (is_model_folder, is_controlnet_folder, is_encoder_folder, is_detector_folder)):
        yield Root(commit, name)
        return
    yield from (Root(commit / folder) for folder in ADAPTER_FOLDERS if (commit / folder).is_dir())
    if (commit / "config.json").exists():
        return  # a language model or another part of something; nothing that paints
    files = sorted(path for path in commit.glob("*.safetensors") if path.is_file())
    for path in files:
        yield Root(path, name if len(files) == 1 else f"{name} {path.stem}")


def likely_places(environment: Mapping[str, str] | None = None, home: Path | None = None) -> tuple[Path, ...]:
    """Folders of other programs that are on this machine, by where they are usually put. Only looks, reads nothing."""
    variables = os.environ if environment is None else environment
    home = home or Path.home()
    cache = Path(variables.get("XDG_CACHE_HOME") or home / ".cache")
    hugging_face = Path(variables.get("HF_HOME") or cache / "huggingface") / "hub"
    usual = (
        Path(variables.get("HF_HUB_CACHE") or hugging_face),
        home / "ComfyUI",
        home / "comfy" / "ComfyUI",
        home / "Documents" / "ComfyUI",
        home / "stable-diffusion-webui",
        home / "stable-diffusion-webui-forge",
    )
    return tuple(path for path in usual if path.is_dir() and program_of(path))
