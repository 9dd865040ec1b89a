"""The rules for an extension's manifest, including those Blender's own validator lets pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["problems_of"]

TAGS = {
    *("3D View", "Add Curve", "Add Mesh", "Animation", "Bake", "Camera", "Compositing", "Development", "Game Engine"),
    *("Geometry Nodes", "Grease Pencil", "Import-Export", "Lighting", "Material", "Mesh", "Modeling", "Node", "Object"),
    *("Paint", "Pipeline", "Physics", "Render", "Rigging", "Scene", "Sculpt", "Sequencer", "System", "Text Editor"),
    *("Tracking", "User Interface", "UV"),
}
PERMISSIONS = {"files", "network", "clipboard", "camera", "microphone"}
TEXT_LENGTH = 64
OLDEST_BLENDER = (4, 2, 0)
NOT_PYTHON = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib", ".exe")


def problems_of(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> list[str]:
    """What the platform or Blender would refuse, one sentence each; empty if nothing. files: the zip's content."""
    return [*_identity(manifest), *_texts(manifest), *_versions(manifest), *_content(manifest, files)]


def _identity(manifest: Mapping[str, Any]) -> Iterator[str]:
    for key in ("schema_version", "id", "version", "name", "tagline", "maintainer", "type", "license"):
        if not manifest.get(key):
            yield f"{key} is missing"
    if not str(manifest.get("id", "")).isidentifier():
        yield "id isn't a Python identifier"
    if "blender" in str(manifest.get("name", "")).lower():
        yield "name must not contain the host's name"
    if not re.fullmatch(r"[^<>@]+ <[^<>@\s]+@[^<>@\s]+>", str(manifest.get("maintainer", ""))):
        yield 'maintainer must be "Name <mail>"'
    for licence in manifest.get("license", ()):
        if not licence.startswith("SPDX:"):
            yield f"license {licence} lacks its SPDX: prefix"
    for line in manifest.get("copyright", ()):
        if not re.match(r"\d{4}(-\d{4})? \S", line):
            yield f"copyright {line!r} must begin with a year"
    for tag in manifest.get("tags", ()):
        if tag not in TAGS:
            yield f"tag {tag} isn't one of the platform's"


def _texts(manifest: Mapping[str, Any]) -> Iterator[str]:
    permissions = manifest.get("permissions", {})
    texts = {"tagline": manifest.get("tagline", ""), **{f"permissions.{key}": permissions[key] for key in permissions}}
    for key, text in texts.items():
        if len(text) > TEXT_LENGTH:
            yield f"{key} is longer than {TEXT_LENGTH} characters"
        if text and not text[-1].isalnum() and text[-1] not in ")]}":
            yield f"{key} ends in punctuation"
    for key in permissions:
        if key not in PERMISSIONS:
            yield f"permissions.{key} isn't known"


def _versions(manifest: Mapping[str, Any]) -> Iterator[str]:
    oldest = str(manifest.get("blender_version_min", ""))
    if not re.fullmatch(r"\d+\.\d+\.\d+", oldest):
        yield "blender_version_min needs three numbers"
    elif tuple(map(int, oldest.split("."))) < OLDEST_BLENDER:
        yield "blender_version_min is older than extensions are"
    if not re.fullmatch(r"\d+\.\d+\.\d+([-+].+)?", str(manifest.get("version", ""))):
        yield "version isn't a semantic version"


def _content(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Iterator[str]:
    wheels = manifest.get("wheels", ())
    if not wheels:
        yield "wheels is empty"
    for wheel in wheels:
        if wheel.removeprefix("./") not in files:
            yield f"{wheel} isn't in the zip"
        if not wheel.endswith("-py3-none-any.whl"):
            yield f"{wheel} isn't pure Python"
    if "__init__.py" not in files:
        yield "__init__.py is missing"
    for name in files:
        if name.endswith(NOT_PYTHON):
            yield f"{name} is compiled code"
