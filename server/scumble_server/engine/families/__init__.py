"""One module per architecture; this one says which of them runs which family of models."""

from __future__ import annotations

from ..family import Family
from .sd15 import StableDiffusion15

__all__ = ["family_of"]

_SD15 = StableDiffusion15()
_loaded: dict[str, Family] = {}


def family_of(name: str) -> Family:
    """name: as in :class:`scumble_server.models.entries.ModelEntry`; models with manifests of their own included."""
    if name not in _loaded:
        _loaded[name] = _family(name)
    return _loaded[name]


def _family(name: str) -> Family:
    """Imported when first needed: each brings modules of its own."""
    if name == "sdxl":
        from .sdxl import StableDiffusionXL

        return StableDiffusionXL()
    if name == "sd3":
        from .sd3 import StableDiffusion3

        return StableDiffusion3()
    if name == "flux":
        from .flux import Flux

        return Flux()
    return _SD15
