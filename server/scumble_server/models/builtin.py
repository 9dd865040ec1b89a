"""Which files the built-in model is made of. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scumble_shared.runtime import data_dir

__all__ = ["SEEDED_MANIFEST", "STARTER_FOLDER", "builtin_folder", "ensure_builtin", "seeded_folder"]

STARTER_FOLDER = Path(__file__).parent / "starter"
"""Where the trained model's files lie."""

SEEDED_VERSION = 2
"""Raise it when what :mod:`.seeded` writes changes."""

SEEDED_MANIFEST: Mapping[str, object] = {
    "name": "Seeded noise (stand-in for the starter model)",
    "family": "starter",
    "sampler": "dpmpp_2m",
    "num_inference_steps": 8,
    "guidance_scale": 3.0,
    "width": 512,
    "height": 512,
    "control_kinds": ["depth", "normal"],
    "note": "Random weights: it shows that everything runs, and paints coloured noise.",
}


def builtin_folder() -> Path:
    """The trained model if it is installed, otherwise the seeded stand-in (which may not be written yet)."""
    return STARTER_FOLDER if (STARTER_FOLDER / "model_index.json").is_file() else seeded_folder()


def seeded_folder() -> Path:
    return data_dir() / "cache" / f"seeded-model-{SEEDED_VERSION}"


def ensure_builtin(folder: Path) -> None:
    """Write the seeded model if ``folder`` is its place and it isn't there: about three seconds, once."""
    if folder == seeded_folder() and not folder.exists():
        from .seeded import install_seeded_model

        install_seeded_model(folder)
