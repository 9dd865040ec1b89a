"""When live mode has a turn of Blender's main thread: at once when something happens, and often while a job is out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import bpy

__all__ = ["LOOK_INTERVAL", "OFTEN", "Beat"]

OFTEN = 0.001
"""Seconds between two looks for news while a job is with the server."""

LOOK_INTERVAL = 0.02
"""Seconds between two turns without news while there is something to wait for."""

HURRY_INTERVAL = 0.002
"""Seconds that Blender's loop may sleep then. Left alone it sleeps 5 ms whenever nothing happens."""


class Beat:
    """fire: has a turn and returns the seconds to the next, None for none until :meth:`wake`."""

    def __init__(self, fire: Callable[[], float | None]) -> None:
        self._fire = fire
        self._timer = self._tick  # Blender knows timers by address, and a method is another object each time
        self._hurry: tuple[int, bpy.types.Timer] | None = None  # of the window at that address
        self.busy = False  # in a turn; what happens now needs no other
        self.called = False  # for something that has happened; whoever sees to it sets it to False

    def stop(self) -> None:
        self.hurry(None)
        if bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.unregister(self._timer)

    def wake(self) -> None:
        """A turn as soon as Blender's loop comes round to it. From any thread; from others than the main one the pump's
        own turns see to it."""
        if bpy.app.background or self.busy or threading.current_thread() is not threading.main_thread():
            return
        if bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.unregister(self._timer)
        bpy.app.timers.register(self._timer, first_interval=0.0)

    def ensure(self, seconds: float | None) -> None:
        """A turn in that time, unless one is coming."""
        if seconds is not None and not bpy.app.background and not bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.register(self._timer, first_interval=seconds)

    @property
    def coming(self) -> bool:
        """Whether there is a timer."""
        return self._hurry is not None or bpy.app.timers.is_registered(self._timer)

    def hurry(self, window: bpy.types.Window | None) -> None:
        """Keep Blender's loop from sleeping long, by an event timer of that window; None lets it.

        The timer is the one thing of Blender's that is held from turn to turn, as there is no other way to end it. A
        window that is closed takes its timers along: then it is only forgotten.
        """
        wanted = 0 if window is None or bpy.app.background else window.as_pointer()
        if self._hurry is not None:
            address, timer = self._hurry
            if address == wanted:
                return
            self._hurry = None
            if any(known.as_pointer() == address for known in bpy.context.window_manager.windows):
                bpy.context.window_manager.event_timer_remove(timer)
        if wanted:
            self._hurry = wanted, bpy.context.window_manager.event_timer_add(HURRY_INTERVAL, window=window)

    def _tick(self) -> float | None:
        ours, self.busy = self.busy, True
        try:
            return self._fire()
        finally:
            self.busy = ours
