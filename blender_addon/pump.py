"""Blender's main thread takes what the network thread has for it, a few milliseconds at a time.

The timer only runs while there is a connection. Timers don't fire in a background Blender that is busy with a script,
nor in the bpy module: call :func:`step` there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy

from .state import session

__all__ = ["BUDGET", "ensure_running", "followers", "register", "step", "tasks", "unregister"]

BUDGET = 0.004
"""Seconds of Blender's main thread per turn."""

BUSY_INTERVAL = 0.02
IDLE_INTERVAL = 0.1
REDRAWN = {"VIEW_3D", "IMAGE_EDITOR", "PROPERTIES", "PREFERENCES"}

tasks: list[Callable[[], bool]] = []
"""Called in every turn until they say False: what waits for work on other threads."""

followers: list[Callable[[], None]] = []
"""Called in every turn, once what has arrived is dealt with; they don't make turns come sooner."""

_seen_changes = 0


def step(budget: float = BUDGET) -> int:
    """Deals with what has arrived, for about ``budget`` seconds; returns how many events that were."""
    count = session().step(time.perf_counter() + budget)
    for task in tuple(tasks):
        if not task() and task in tasks:
            tasks.remove(task)
    for follow in tuple(followers):
        follow()
    _redraw_if_changed(session().changes)
    return count


def ensure_running() -> None:
    """Starts the timer unless it runs."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, persistent=True)


def _tick() -> float | None:
    step()
    current = session()
    if not current.active and not tasks:
        return None
    return BUSY_INTERVAL if tasks or current.jobs.live() else IDLE_INTERVAL


def _redraw_if_changed(changes: int) -> None:
    global _seen_changes
    if changes == _seen_changes:
        return
    _seen_changes = changes
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in REDRAWN:
                area.tag_redraw()


def register() -> None:
    """Nothing runs until there is a connection."""


def unregister() -> None:
    tasks.clear()
    followers.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
