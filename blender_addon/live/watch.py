"""What can change what live mode shows, noticed cheaply: handlers that set a flag, and a few values compared."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..control_list import controls_key
from ..references.request import references_key
from ..regions.properties import regions_key
from ..request import loras_of

__all__ = ["Place", "Watch", "find_place", "place_key", "settings_key", "why_paused"]

Place = tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]
"""A viewport on screen, looked up anew in each turn: none of it outlives that."""

HANDLERS = ("depsgraph_update_post", "frame_change_post", "undo_post", "redo_post")

SETTINGS = (
    *("prompt", "negative_prompt", "model_id", "source", "width", "height"),
    *("sampler", "num_inference_steps", "guidance_scale", "quality", "memory", "seed"),
)
CAMERA_SETTINGS = (
    *("resolution_x", "resolution_y", "pixel_aspect_x", "pixel_aspect_y"),
    *("use_border", "use_crop_to_border", "border_min_x", "border_max_x", "border_min_y", "border_max_y"),
)


class Watch:
    """Tells of changes of scenes. noticed: called at each, maybe from a render's thread; it must return at once.

    version: grows with every change. changed: since somebody last set it to False.
    """

    def __init__(self, noticed: Callable[[], None]) -> None:
        self.version = 0
        self.changed = False
        self._noticed = noticed

    def start(self) -> None:
        for name in HANDLERS:
            getattr(bpy.app.handlers, name).append(self._on_depsgraph if "depsgraph" in name else self._on_change)

    def stop(self) -> None:
        """Blender has dropped the handlers already when a file was loaded."""
        for name in HANDLERS:
            handlers = getattr(bpy.app.handlers, name)
            for handler in (self._on_depsgraph, self._on_change):
                if handler in handlers:
                    handlers.remove(handler)

    def _on_depsgraph(self, _scene: object = None, depsgraph: bpy.types.Depsgraph | None = None) -> None:
        if depsgraph is None or any(_matters(update) for update in depsgraph.updates):
            self._on_change()

    def _on_change(self, *_: object) -> None:
        self.version += 1
        self.changed = True
        self._noticed()


def _matters(update: bpy.types.DepsgraphUpdate) -> bool:
    """Whether geometry may look different. A scene's update doesn't say what it is about: hiding, or just selecting.

    A stroke of sculpting is told as a change of shading: Blender draws such a mesh around its dependency graph.
    """
    if isinstance(update.id, bpy.types.Object):
        sculpted = update.is_updated_shading and update.id.mode == "SCULPT"
        return update.is_updated_geometry or update.is_updated_transform or sculpted
    return isinstance(update.id, bpy.types.Scene | bpy.types.Collection)


def find_place(area_pointer: int) -> Place | None:
    """The viewport where live mode was begun, or, while that isn't on screen, the largest one that is.

    So that a viewport shown on the whole screen, which is another area to Blender, goes on where the small one was.
    """
    areas = [
        (window, area)
        for window in bpy.context.window_manager.windows
        for area in window.screen.areas
        if area.type == "VIEW_3D"
    ]
    if not areas:
        return None
    window, area = max(areas, key=lambda item: (item[1].as_pointer() == area_pointer, item[1].width * item[1].height))
    return window, area, next(region for region in area.regions if region.type == "WINDOW")


def place_key(area: bpy.types.Area, region: bpy.types.Region) -> tuple[object, ...]:
    """Equal as long as the viewport looks the same way, at the same size, at the same objects."""
    space = area.spaces.active
    view = space.region_3d
    return (
        _values(view.view_matrix),
        _values(view.window_matrix),
        region.width,
        region.height,
        space.local_view is not None,
        space.use_local_collections,
    )


def settings_key(scene: bpy.types.Scene) -> tuple[object, ...]:
    """Equal as long as the same is asked for."""
    settings, render = scene.scumble, scene.render
    camera = tuple(getattr(render, name) for name in CAMERA_SETTINGS) if settings.source == "CAMERA" else ()
    loras = loras_of(settings)
    return (
        scene.session_uid,
        settings.live.noise,
        *(getattr(settings, name) for name in SETTINGS),
        controls_key(settings),
        loras,
        references_key(scene),
        regions_key(),
        camera,
    )


def why_paused() -> str:
    """What Blender does that live mode keeps out of; "" if nothing."""
    if bpy.app.is_job_running("RENDER"):
        return "Paused while rendering"
    if any(window.screen.is_animation_playing for window in bpy.context.window_manager.windows):
        return "Paused while the animation plays"
    return ""


def _values(matrix: object) -> tuple[float, ...]:
    return tuple(value for row in matrix for value in row)
