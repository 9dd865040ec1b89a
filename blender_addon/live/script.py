"""Live mode in the hands of a script."""

from __future__ import annotations

import time
from types import TracebackType

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError

from .. import pump
from ..jobs import JobRecord
from . import control
from .frames import with_addresses
from .painter import Painter
from .timing import Timings

__all__ = ["Live"]

PAUSE = 0.002


class Live:
    """Live mode while the ``with`` block lasts, or until :meth:`stop`.

    In an open Blender it goes on by itself; in background it does what there is to do in :meth:`settle` and in
    ``api.step()``.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._record: JobRecord | None = None

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @property
    def record(self) -> JobRecord | None:
        """The newest finished frame: its ``job`` says from where, at what size and in how many steps."""
        latest = self._painter.latest
        if latest is not None and (self._record is None or self._record.id != latest.id):
            self._record = with_addresses(latest)
        return self._record

    @property
    def pixels(self) -> NDArray[np.uint8] | None:
        """H x W x 3, top row first, of the newest finished frame."""
        latest = self._painter.latest
        return None if latest is None else latest.prepared.pixels

    @property
    def refined(self) -> bool:
        """Whether that frame is of the scene's own size and steps."""
        return self._painter.refined

    @property
    def submitted(self) -> int:
        """Jobs so far, those that were given up included."""
        return self._painter.submitted

    @property
    def pictures(self) -> int:
        """Finished frames so far."""
        return self._painter.pictures

    @property
    def timings(self) -> Timings:
        return self._painter.timings

    def settle(self, timeout: float | None = None) -> JobRecord | None:
        """Steps until what is to be seen now is painted and, if the scene wants that, refined; the newest frame.

        timeout: seconds, None for any. Raises ScumbleError SCENE with the reason if it can't be painted, and
        CONNECTION_LOST over the time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pump.step()
        while self._painter.paused or not self._painter.idle:
            if self._painter.paused and not self._painter.pause_passes:
                raise ScumbleError(ErrorCode.SCENE, self._painter.paused, field="live")
            if deadline is not None and time.monotonic() > deadline:
                reason = self._painter.paused or f"no picture within {timeout:g} s"
                raise ScumbleError(ErrorCode.CONNECTION_LOST, reason, retryable=True)
            time.sleep(PAUSE)
            pump.step()
        if self._painter.trouble:
            raise ScumbleError(ErrorCode.SCENE, self._painter.trouble, field="live")
        return self.record

    def keep(self) -> bpy.types.Image:
        """The newest frame as an image packed into the file."""
        return control.keep()[0]

    def stop(self) -> None:
        if control.painter() is self._painter:
            control.stop()
