"""Comparison sheets and variations: one captured view, many jobs, all their pictures on one."""

from __future__ import annotations

import bpy

from .. import pump
from . import operators, panel, properties, running

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


def register() -> None:
    properties.register()
    _register_classes()
    pump.followers.append(running.follow)


def unregister() -> None:
    if running.follow in pump.followers:
        pump.followers.remove(running.follow)
    running.clear()
    _unregister_classes()
    properties.unregister()
