"""Which tier of memory the device is in, and what each model would take of it."""

from __future__ import annotations

from pathlib import Path

from scumble_shared.errors import ScumbleError

from ..memory.machine import GIB, Machine, tier_of
from ..memory.plan import Work, estimate, plan_for, words
from ..memory.sizes import sizes_of
from ..models.entries import ModelEntry
from ..models.safetensors_header import BadFileError
from ..models.scan import default_model_dirs, scan
from .finding import Finding, Level

__all__ = ["memory_plan_findings", "plan_finding"]


def memory_plan_findings(device: str = "auto", folders: tuple[Path, ...] | None = None) -> list[Finding]:
    """Loads torch. folders: model folders, the usual ones if None. Nothing where there is no device to ask."""
    try:
        from ..engine.device import resolve_device
        from ..engine.memory.probe import probe
    except (ImportError, OSError):
        return []
    try:
        resolved = resolve_device(device)
        machine = probe(resolved)
    except (ScumbleError, RuntimeError):
        return []
    searched = default_model_dirs() if folders is None else folders
    room = machine.room.device / GIB
    findings = [Finding("tier", Level.OK, f"{tier_of(machine)}: {room:.1f} GiB for models and what they work on")]
    bytes_each = resolved.dtype.itemsize
    return findings + [plan_finding(entry, machine, bytes_each) for entry in scan(searched).models]


def plan_finding(entry: ModelEntry, machine: Machine, bytes_each: int = 2) -> Finding:
    """One picture of the model's own size. bytes_each: of a number in the format that the device computes in."""
    try:
        sizes = sizes_of(entry)
    except BadFileError as error:
        return Finding("tier", Level.NOTE, f"{entry.id}: its size isn't known: {error}")
    work = Work(entry.width, entry.height, guided=entry.family != "flux", bytes_each=bytes_each)
    plan = plan_for(sizes, work, machine)
    found = estimate(sizes, work, machine, plan)
    peak = found.peak.device / GIB
    how = words(plan) or "as it is"
    text = f"{entry.id}: {peak:.1f} GiB at {entry.width} x {entry.height} ({how})"
    if not found.peak.fits(machine.room):
        remedy = "Close other programs, use a smaller size, or a file with weights in fewer bits (.gguf)"
        return Finding("tier", Level.WARNING, f"{text}, more than there is", remedy)
    return Finding("tier", Level.OK, text)
