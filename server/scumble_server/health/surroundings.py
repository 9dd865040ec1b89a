"""Models, Blender, and servers that run already."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from scumble_shared.runtime import read_records, run_dir

from ..models.index import ModelIndex
from ..models.scan import default_model_dirs, scan
from .finding import Finding, Level

__all__ = ["blender_finding", "model_findings", "server_findings"]


def model_findings(folders: tuple[Path, ...] | None = None) -> list[Finding]:
    """Of the index a server would have; unusable files with the reason."""
    searched = default_model_dirs() if folders is None else folders
    index: ModelIndex = scan(searched)
    places = ", ".join(map(str, searched))
    findings = [
        Finding("models", Level.OK, f"{model.id}: {model.name}" + (f" ({model.note})" if model.note else ""))
        for model in index.models
    ]
    findings += [
        Finding("models", Level.OK, f"{net.id}: ControlNet {net.name}, {', '.join(net.kinds) or 'of unknown kind'}")
        for net in index.controlnets
    ]
    findings += [Finding("models", Level.OK, f"{entry.id}: upscaler {entry.name}") for entry in index.upscalers]
    findings += [
        Finding("models", Level.WARNING, f"{entry.path} can't be used: {entry.reason}", "Replace or remove it")
        for entry in index.unusable
    ]
    if not index.models:
        findings.append(Finding("models", Level.PROBLEM, "there is no model", f"Put one into {places}"))
    elif len(index.models) == 1:
        findings.append(Finding("models", Level.NOTE, f"more models can be put into {places}"))
    return findings


def blender_finding() -> Finding:
    """A hint only: the server neither needs nor starts Blender, and one may be anywhere."""
    found = shutil.which("blender")
    if found:
        text = f"{found}; drag the zip that `scumble build-addon` makes into its window to install the extension"
        return Finding("blender", Level.OK, text)
    text = "no `blender` on the PATH, which is fine: install the extension from within Blender 4.2 or newer"
    return Finding("blender", Level.NOTE, text)


def server_findings() -> list[Finding]:
    """Running servers of this user, and whether a new one could say where it is."""
    findings = [
        Finding("server", Level.OK, f"{record.url}, process {record.pid}, version {record.version}")
        for record in read_records()
    ]
    if not findings:
        findings.append(Finding("server", Level.NOTE, "none is running; the extension starts one when it needs it"))
    folder = run_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not _writable(existing):
        remedy = f"Give yourself the right to write to {existing}, or set SCUMBLE_HOME to another folder"
        findings.append(Finding("server", Level.PROBLEM, f"{folder} can't be written", remedy))
    elif os.name == "posix" and folder.exists() and folder.stat().st_mode & 0o077:
        text = f"{folder} can be read by others, and the tokens of running servers are in it"
        findings.append(Finding("server", Level.WARNING, text, f"chmod 700 {folder}"))
    return findings


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
