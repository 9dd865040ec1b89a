"""Seamless materials: a picture that goes on where it began, in a material of its own."""

from __future__ import annotations

import bpy

from ..apply import results
from . import operators, panel, properties
from .material import About, apply_seamless

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


def register() -> None:
    properties.register()
    _register_classes()
    results.appliers[About] = apply_seamless


def unregister() -> None:
    del results.appliers[About]
    _unregister_classes()
    properties.unregister()
