"""``scumble models``: what the server can use, and what it can't, with the reason."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..models.families import family_name
from ..models.folder_list import add_folder, remove_folder, with_added
from ..models.index import ModelIndex
from ..models.scan import default_model_dirs, scan

__all__ = ["add_arguments", "run"]

WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="folders to look through, not the usual")
    parser.add_argument("--json", action="store_true", help="for machines")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", type=Path, metavar="DIR", help="read models in DIR where they are, from now on")
    change.add_argument("--remove", type=Path, metavar="DIR", help="don't read DIR any longer")


def run(arguments: argparse.Namespace) -> int:
    library = default_model_dirs()[0]
    if arguments.add:
        add_folder(library, arguments.add.expanduser().absolute())
    if arguments.remove:
        remove_folder(library, arguments.remove.expanduser().absolute())
    folders = with_added(arguments.folders or default_model_dirs())
    index = scan(folders)
    print(json.dumps(as_table(index), indent=2) if arguments.json else text_of(index, folders))
    return 0


def as_table(index: ModelIndex) -> dict[str, object]:
    """JSON-able; paths are shown, for this is the owner's own machine."""
    kinds = {model.id: model.control_kinds for model in index.capabilities("").models}
    return {
        "models": [
            {
                "id": model.id,
                "name": model.name,
                "family": model.family,
                "inpainting": model.in_channels == 9,
                "control_kinds": kinds[model.id],
                "path": str(model.path),
                "note": model.note,
            }
            for model in index.models
        ],
        "controlnets": [
            {"id": net.id, "name": net.name, "family": net.family, "kinds": net.kinds, "path": str(net.path)}
            for net in index.controlnets
        ],
        "loras": [
            {"id": entry.id, "name": entry.name, "family": entry.family, "way": entry.way, "path": str(entry.path)}
            for entry in index.loras
        ],
        "adapters": [
            {
                "id": entry.id,
                "name": entry.name,
                "family": entry.family,
                "path": str(entry.path),
                "encoder": str(entry.encoder.path) if entry.encoder else "",
            }
            for entry in index.adapters
        ],
        "upscalers": [{"id": entry.id, "name": entry.name, "path": str(entry.path)} for entry in index.upscalers],
        "detectors": [
            {"id": entry.id, "name": entry.name, "kind": entry.kind, "path": str(entry.path)}
            for entry in index.detectors
        ],
        "unusable": [
            {"id": entry.id, "name": entry.name, "path": str(entry.path), "reason": entry.reason}
            for entry in index.unusable
        ],
    }


def text_of(index: ModelIndex, folders: Sequence[Path]) -> str:
    """For a terminal."""
    kinds = {model.id: model.control_kinds for model in index.capabilities("").models}
    models = [
        (model.id, model.name, family_name(model.family), ", ".join(kinds[model.id]) or "none")
        for model in index.models
    ]
    nets = [
        (net.id, net.name, family_name(net.family), ", ".join(net.kinds) or "any image") for net in index.controlnets
    ]
    lines = ["Looked in " + ", ".join(str(folder) for folder in folders), ""]
    lines += _columns(("MODEL", "NAME", "FAMILY", "CONTROLS"), models)
    if nets:
        lines += ["", *_columns(("CONTROLNET", "NAME", "FAMILY", "KINDS"), nets)]
    if index.loras:
        rows = [(entry.id, entry.name, family_name(entry.family), entry.way) for entry in index.loras]
        lines += ["", *_columns(("LORA", "NAME", "FAMILY", "FEW STEPS"), rows)]
    if index.adapters:
        adapters = [
            (entry.id, entry.name, family_name(entry.family), entry.encoder.name if entry.encoder else "missing")
            for entry in index.adapters
        ]
        lines += ["", *_columns(("IP-ADAPTER", "NAME", "FAMILY", "IMAGE ENCODER"), adapters)]
    if index.upscalers:
        lines += ["", *_columns(("UPSCALER", "NAME"), [(entry.id, entry.name) for entry in index.upscalers])]
    if index.detectors:
        detectors = [(entry.id, entry.name, entry.kind) for entry in index.detectors]
        lines += ["", *_columns(("DETECTOR", "NAME", "FINDS"), detectors)]
    if index.unusable:
        lines += ["", "CAN'T BE USED"]
        for entry in index.unusable:
            lines += textwrap.wrap(
                f"{entry.path}: {entry.reason}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
    return "\n".join(lines)


def _columns(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
