"""Images with more pixels: a picture or a texture in, a larger one beside it."""

from __future__ import annotations

import bpy
from scumble_shared.job import UpscaleJob

from ..apply import results
from . import operators, panel, properties
from .result import apply_enlarged

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


def register() -> None:
    properties.register()
    _register_classes()
    results.appliers[UpscaleJob] = apply_enlarged


def unregister() -> None:
    del results.appliers[UpscaleJob]
    _unregister_classes()
    properties.unregister()
