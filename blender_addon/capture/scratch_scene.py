"""A scene that exists for one render and leaves nothing behind, not even a Render Result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["scratch_scene", "silent_render", "unheard"]

NAME = "Scumble Capture"

_HANDLERS = (
    "depsgraph_update_pre",
    "depsgraph_update_post",
    "render_init",
    "render_pre",
    "render_post",
    "render_write",
    "render_stats",
    "render_complete",
    "render_cancel",
    "frame_change_pre",
    "frame_change_post",
)


@contextmanager
def scratch_scene() -> Iterator[bpy.types.Scene]:
    """A scene with only a camera; it and all data made meanwhile are removed, errors included."""
    before = _all_data()
    try:
        scene = bpy.data.scenes.new(NAME)
        scene.render.resolution_percentage = 100
        scene.render.dither_intensity = 0.0
        scene.render.use_compositing = scene.render.use_sequencer = False
        scene.camera = bpy.data.objects.new(NAME, bpy.data.cameras.new(NAME))
        scene.collection.objects.link(scene.camera)
        yield scene
    finally:
        bpy.data.batch_remove(_all_data() - before)


def _all_data() -> set[bpy.types.ID]:
    kinds = ("scenes", "objects", "meshes", "cameras", "materials", "images", "worlds", "lights", "node_groups")
    return {block for kind in kinds for block in getattr(bpy.data, kind)}


def silent_render(scene: bpy.types.Scene, write: bool = False) -> None:
    """Renders a scratch scene without the file's or other add-ons' render handlers hearing of it.

    Raises BUSY while another render runs.
    """
    if bpy.app.is_job_running("RENDER"):
        raise ScumbleError(ErrorCode.BUSY, "Blender is rendering; try again when it has finished.", retryable=True)
    with unheard():
        bpy.ops.render.render(scene=scene.name, write_still=write)


@contextmanager
def unheard() -> Iterator[None]:
    """Nobody's handlers are called for what is done to a scratch scene."""
    heard = {name: list(getattr(bpy.app.handlers, name)) for name in _HANDLERS if hasattr(bpy.app.handlers, name)}
    try:
        for name in heard:
            getattr(bpy.app.handlers, name).clear()
        yield
    finally:
        for name, handlers in heard.items():
            getattr(bpy.app.handlers, name).extend(handlers)
