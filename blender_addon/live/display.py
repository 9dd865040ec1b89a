"""Live mode's newest picture in the viewports: over the view it was made from, and on the surfaces wherever else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Matrix4

from ..apply import overlay
from ..capture import DrawnSurface
from . import surface_shader
from .frames import Frame
from .surface import SurfacePaint, View

__all__ = ["Display", "look_of", "tag_sidebars", "tag_viewports"]

Visible = dict[int, Matrix4]
"""Where visible objects stand, by session_uid."""


class Display:
    """version: of the scene, as :class:`.watch.Watch` counts. drawn: called with each region that is drawn.

    times: takes the seconds that each drawing on surfaces took.
    """

    def __init__(self, version: Callable[[], int], drawn: Callable[[], None], times: deque[float]) -> None:
        self._version = version
        self._drawn = drawn
        self._times = times
        self._frame: Frame | None = None
        self._paint: SurfacePaint | None = None
        self._shown_version = 0  # of the scene in the picture; things may have moved in the view since
        self._visible: Visible = {}
        self._visible_key: tuple[object, ...] = ()
        self._handle: object = None

    def start(self) -> None:
        if not bpy.app.background:
            self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_VIEW")

    def stop(self) -> None:
        """Nothing is shown any longer, and nothing kept on the GPU."""
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None
        if self._frame is not None:
            overlay.clear()
        self._frame = self._paint = None
        self._visible.clear()
        surface_shader.forget()
        tag_viewports()

    def confirm(self, since: int) -> None:
        """Nothing has changed to be seen since ``version`` was ``since``: a picture of then shows what is now."""
        if self._shown_version >= since:
            self._shown_version = self._version()
            tag_viewports()

    def show(self, job_id: str, frame: Frame, version: int, pixels: NDArray[np.float32], look: overlay.Look) -> None:
        """version: of the scene in ``frame``. pixels: float32 H x W x 4, bottom row first; a preview or a result."""
        camera = frame.job.view.camera
        self._shown_version = max(version, self._shown_version if frame is self._frame else 0)
        overlay.show_pixels(job_id, camera, pixels, frame.covered, look)
        if self._paint is None or frame is not self._frame:
            self._frame = frame
            self._paint = SurfacePaint(camera, pixels, frame.depth, frame.surfaces)
        else:
            self._paint.replace(pixels)
        tag_viewports()

    def _draw(self) -> None:
        """In every viewport, after its own contents."""
        self._drawn()
        context = bpy.context
        if self._frame is None or self._paint is None or context.region_data is None:
            return
        if context.scene.session_uid != self._frame.request.target.scene_uid:
            return
        begin = time.perf_counter()
        options = context.scene.scumble.live
        look = look_of(options)
        overlay.set_look(look)  # what is drawn next, as this comes after the view's contents and that after everything
        view = _view_of(context.region, context.region_data)
        camera = self._frame.job.view.camera
        fits = overlay.place(camera, view.perspective, context.region.width, context.region.height) is not None
        over = fits and overlay.is_shown() and self._shown_version == self._version()
        if options.on_surface and not over:
            overlay.set_look(replace(look, opacity=0.0))
            self._look_where_things_stand(context)
            self._paint.draw(view, look, self._pose)
        self._times.append(time.perf_counter() - begin)

    def _look_where_things_stand(self, context: bpy.types.Context) -> None:
        space = context.space_data
        key = (self._version(), context.scene.session_uid, space.as_pointer(), space.local_view is not None)
        if key == self._visible_key:
            return
        self._visible_key = key
        self._visible = {
            thing.session_uid: tuple(value for row in thing.matrix_world for value in row)
            for thing in context.view_layer.objects
            if thing.visible_in_viewport_get(space) and thing.visible_get()
        }

    def _pose(self, surface: DrawnSurface) -> Matrix4 | None:
        entry = surface.entry
        if entry.holdout:
            return None
        if entry.instancer_uid:
            return entry.matrix_world if entry.instancer_uid in self._visible else None
        return self._visible.get(entry.session_uid)


def look_of(options: object) -> overlay.Look:
    """options: the scene's settings for live mode."""
    return overlay.Look(options.opacity, options.wipe, options.only_objects)


def tag_viewports() -> None:
    """Have them drawn anew; their sidebars aren't."""
    _tag("WINDOW")


def tag_sidebars() -> None:
    """Have viewports' sidebars drawn anew."""
    _tag("UI")


def _tag(kind: str) -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == kind:
                        region.tag_redraw()


def _view_of(region: bpy.types.Region, view: bpy.types.RegionView3D) -> View:
    to_world = view.view_matrix.inverted()
    eye = (*to_world.translation, 1.0) if view.is_perspective else (*to_world.col[2][:3], 0.0)
    return View(np.array(view.perspective_matrix, np.float64), eye, region.width)
