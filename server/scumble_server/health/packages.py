"""Installed packages, by their metadata: nothing is imported, so a broken one can't break the report."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution

from scumble_shared import __version__

from .finding import Finding, Level

__all__ = ["Lookup", "installed", "package_findings", "pair_finding", "python_finding"]

NEEDED = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "pillow", "websockets")
OPTIONAL = {
    "peft": "LoRA files can't be used; pip install 'scumble[lora]'",
    "openexr": "`scumble generate` can't read .exr files; pip install 'scumble[exr]'",
    "cryptography": "no self-signed certificates for serving other machines; pip install 'scumble[tls]'",
}

Lookup = Callable[[str], tuple[str, list[str]] | None]
"""Package name -> (version, requirements), None if it isn't installed."""


def installed(name: str) -> tuple[str, list[str]] | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    return found.version, found.requires or []


def python_finding() -> Finding:
    text = f"Scumble {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return Finding("python", Level.PROBLEM, f"{text}, 32 bits", "Install a 64-bit Python; torch needs one")
    return Finding("python", Level.OK, text)


def package_findings(lookup: Lookup = installed) -> list[Finding]:
    versions = {name: found[0] for name in NEEDED if (found := lookup(name))}
    lacking = [name for name in NEEDED if name not in versions]
    findings = [Finding("packages", Level.OK, ", ".join(f"{name} {version}" for name, version in versions.items()))]
    if lacking:
        text = f"not installed: {', '.join(lacking)}"
        findings.append(Finding("packages", Level.PROBLEM, text, "pip install --upgrade scumble"))
    findings.append(pair_finding(lookup))
    findings += [Finding("packages", Level.NOTE, why) for name, why in OPTIONAL.items() if lookup(name) is None]
    return findings


def pair_finding(lookup: Lookup = installed) -> Finding:
    """torchvision is built against one torch, names it in its metadata, and crashes on import with another."""
    torch, torchvision = lookup("torch"), lookup("torchvision")
    if torch is None or torchvision is None:
        return Finding("torchvision", Level.OK, "not installed, and not needed except for control images from photos")
    text = f"torchvision {torchvision[0]} beside torch {torch[0]}"
    wanted = _required_torch(torchvision[1])
    if wanted and wanted != _public(torch[0]):
        remedy = f"Install them together: pip install --upgrade torch=={wanted} torchvision=={_public(torchvision[0])}"
        return Finding("torchvision", Level.PROBLEM, f"{text} is no pair: it needs torch {wanted}", remedy)
    if _build(torch[0]) != _build(torchvision[0]):
        remedy = "Install both from the same place, with the same pip command"
        return Finding("torchvision", Level.PROBLEM, f"{text} are of different builds", remedy)
    return Finding("torchvision", Level.OK, f"{text}, a matching pair")


def _required_torch(requirements: list[str]) -> str:
    """ "2.13.0" of "torch==2.13.0" or "torch (==2.13.0)"; "" if none is named."""
    for requirement in requirements:
        if match := re.fullmatch(r"torch\s*\(?==\s*([^\s;)]+)\)?\s*(;.*)?", requirement):
            return _public(match[1])
    return ""


def _public(version: str) -> str:
    return version.partition("+")[0]


def _build(version: str) -> str:
    """ "cu130", "cpu", "rocm7.0" or "" where the version doesn't tell."""
    return version.partition("+")[2]
