"""Texturing all around: views are placed and shown, painted together by the server, and come back as new materials.

``planning`` finds where to look from (no Blender in it, ``sight`` or ``surface``), ``scene`` and ``drafts`` read
Blender's data, ``actions`` are the verbs, ``live`` and ``draw`` show what is going on, ``result`` and ``recipe`` write.
"""

from __future__ import annotations

import bpy
from scumble_shared.job import TextureJob

from ..apply import results
from . import actions, live, operators, panel, properties
from .result import apply_texture_job

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


@bpy.app.handlers.persistent
def _new_file(*_: object) -> None:
    actions.stop_looking()
    live.clear()


def register() -> None:
    properties.register()
    _register_classes()
    live.register()
    bpy.app.handlers.load_post.append(_new_file)
    results.appliers[TextureJob] = apply_texture_job
    results.preview_showers[TextureJob] = live.show_preview


def unregister() -> None:
    actions.stop_looking()
    bpy.app.handlers.load_post.remove(_new_file)
    del results.appliers[TextureJob], results.preview_showers[TextureJob]
    live.unregister()
    _unregister_classes()
    properties.unregister()
