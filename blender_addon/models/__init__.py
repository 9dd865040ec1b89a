"""The model manager: what the server has on its disk, and what it is asked to fetch, check and delete.

``shelf`` keeps what the server said last (no Blender in it), ``properties`` shows it to Blender's lists, ``operators``
are the verbs, ``panel`` arranges. Nothing goes to the network unless somebody presses a button that says so.
"""

from __future__ import annotations

import bpy
from scumble_shared.job import LibraryJob

from .. import pump
from ..apply import results
from . import operators, panel, properties, verbs

__all__ = ["register", "unregister"]

_register_classes, _unregister_classes = bpy.utils.register_classes_factory((*operators.CLASSES, *panel.CLASSES))


@bpy.app.handlers.persistent
def _new_file(*_: object) -> None:
    """Blender forgets the lists with the file."""
    properties.show(verbs.SHELF)


def register() -> None:
    properties.register()
    _register_classes()
    bpy.app.handlers.load_post.append(_new_file)
    results.takers[LibraryJob] = verbs.take_answer
    pump.followers.append(verbs.list_if_wanted)


def unregister() -> None:
    if verbs.list_if_wanted in pump.followers:
        pump.followers.remove(verbs.list_if_wanted)
    del results.takers[LibraryJob]
    bpy.app.handlers.load_post.remove(_new_file)
    verbs.SHELF.clear()
    _unregister_classes()
    properties.unregister()
