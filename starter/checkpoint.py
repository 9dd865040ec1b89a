"""Training state on disk: any set of named tensors, in .safetensors files of at most 15 MB, plus a small JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["MAX_SHARD_BYTES", "load", "save", "split"]

MAX_SHARD_BYTES = 14_500_000


def split(tensors: dict[str, Tensor], limit: int = MAX_SHARD_BYTES) -> list[dict[str, Tensor]]:
    """The tensors in groups of at most ``limit`` bytes each, order kept."""
    groups: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if groups[-1] and used + size > limit:
            groups.append({})
            used = 0
        groups[-1][name] = tensor
        used += size
    return groups


def save(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the state; the facts come last and name the files, so that a broken-off write leaves the old state."""
    folder.mkdir(parents=True, exist_ok=True)
    old = json.loads((folder / "state.json").read_text())["files"] if (folder / "state.json").exists() else []
    generation = "b" if old and "-a-" in old[0] else "a"
    names = []
    for index, group in enumerate(split(tensors)):
        names.append(f"state-{generation}-{index:03d}.safetensors")
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in group.items()}, folder / names[-1])
    temporary = folder / "state.part"
    temporary.write_text(json.dumps({**facts, "files": names}, indent=1))
    temporary.replace(folder / "state.json")
    for name in old:
        (folder / name).unlink(missing_ok=True)


def load(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and facts of :func:`save`, or None where nothing was saved."""
    if not (folder / "state.json").exists():
        return None
    facts = json.loads((folder / "state.json").read_text())
    tensors: dict[str, Tensor] = {}
    for name in facts["files"]:
        tensors |= load_file(folder / name, device=str(device))
    return tensors, facts
