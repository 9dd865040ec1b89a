"""Live mode on and off, and what can be done with its frames. There is one for all of Blender."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.tensor import AnyArray

from .. import request
from ..actions import start_texture
from ..apply import overlay, results
from ..compat import register_exit, unregister_exit
from ..jobs import JobRecord
from ..prepare import finished
from ..runtime import ensure_connection
from ..state import session
from .frames import with_addresses, with_spare
from .painter import Painter

__all__ = ["is_on", "keep", "latest", "painter", "register", "start", "stop", "texture", "unregister"]

_painter: Painter | None = None
_latest: JobRecord | None = None
_latest_spare: Mapping[str, AnyArray] = {}


def painter() -> Painter | None:
    """The running loop, None while live mode is off."""
    return _painter


def is_on() -> bool:
    return _painter is not None


def latest() -> JobRecord | None:
    """The newest finished frame of this file, also after live mode was switched off."""
    return _painter.latest if _painter is not None and _painter.latest is not None else _latest


def start(context: bpy.types.Context) -> Painter:
    """Begin to paint what the viewport shows (or the camera sees), until :func:`stop` or another file.

    Raises ScumbleError SCENE without a viewport to look through, and why there can't be a server.
    """
    global _painter
    stop()
    area = request.viewport(context) if context.scene.scumble.source == "VIEWPORT" else context.area
    ensure_connection()
    overlay.clear()
    _painter = Painter(area.as_pointer() if area is not None else 0, stop)
    _painter.start()
    if _on_load not in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.append(_on_load)
    session().changes += 1
    return _painter


def stop() -> None:
    """What is being painted is given up; the newest frame can still be kept."""
    global _painter, _latest, _latest_spare
    if _painter is None:
        return
    _latest, _latest_spare = latest(), _spare()
    _painter.stop()
    _painter = None
    if _on_load in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_on_load)
    session().changes += 1


def keep() -> list[bpy.types.Image]:
    """The newest frame as an image packed into the file, with its provenance; Scumble's other tools find it, too.

    Raises ScumbleError SCENE without a frame.
    """
    return results.keep_pictures(_as_result())


def texture(objects: list[bpy.types.Object]) -> JobRecord:
    """Begin to texture ``objects`` with the newest frame. Raises ScumbleError as texturing from a view does."""
    return start_texture(bpy.context, objects, _as_result())


def _as_result() -> JobRecord:
    """The newest frame as a finished job like any other, the latest there is."""
    frame = latest()
    if frame is None:
        raise ScumbleError(ErrorCode.SCENE, "live mode hasn't painted anything yet", field="live")
    if (known := session().jobs.get(frame.id)) is not None:
        return known
    record = with_spare(finished(with_addresses(frame)), _spare())
    session().jobs.add(record)
    return record


def _spare() -> Mapping[str, AnyArray]:
    """Of the newest frame."""
    return _painter.latest_spare if _painter is not None and _painter.latest is not None else _latest_spare


def _on_load(*_: object) -> None:
    """The file is about to go, and its viewports with it. Blender drops its handlers itself, ours among them."""
    global _painter, _latest, _latest_spare
    if _painter is not None:
        _painter.stop()
        _painter = None
        session().changes += 1
    _latest, _latest_spare = None, {}


@bpy.app.handlers.persistent
def _on_exit(*_: object) -> None:
    stop()


def register() -> None:
    register_exit(_on_exit)


def unregister() -> None:
    global _latest, _latest_spare
    unregister_exit(_on_exit)
    stop()
    _latest, _latest_spare = None, {}
