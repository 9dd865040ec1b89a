"""One module per architecture; this one says which of them runs which family of models."""

from __future__ import annotations

from ..family import Family
from .sd15 import StableDiffusion15

__all__ = ["family_of"]

_SD15 = StableDiffusion15()
_FAMILIES: dict[str, Family] = {"sd15": _SD15, "sd15-custom": _SD15, "starter": _SD15}


def family_of(name: str) -> Family:
    """name: as in :class:`scumble_server.models.entries.ModelEntry`; models with manifests of their own included."""
    return _FAMILIES.get(name, _SD15)
