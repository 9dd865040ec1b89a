"""Which engine a server runs, by the name on the command line; imports none of them before it is asked for one."""

from __future__ import annotations

from collections.abc import Callable

from scumble_shared.messages import Capabilities

from ..workers.service import WorkerService
from ..workers.spec import ExecutorSpec
from .http import checked_url
from .listing import Listing

__all__ = ["ENGINES", "foreign_service", "look"]

ENGINES = {
    "comfyui": ("scumble_server.engines.comfyui.painter:comfyui_executor", "http://127.0.0.1:8188"),
    "a1111": ("scumble_server.engines.webui.painter:webui_executor", "http://127.0.0.1:7860"),
}
"""Name -> what does the work, and where the program is unless somebody says otherwise."""


def foreign_service(engine: str, url: str = "") -> WorkerService:
    """A service on a running program. Raises ScumbleError INVALID_FIELD for a ``url`` that is no address."""
    target, usual = ENGINES[engine]
    spec = ExecutorSpec(target, {"url": checked_url(url or usual)})
    return WorkerService(spec, find_models=_finder(spec))


def look(engine: str, url: str = "") -> Listing:
    """What the program has now. Raises ScumbleError SERVER_UNREACHABLE, or INVALID_FIELD for no address."""
    from .comfyui.painter import ComfyPainter
    from .webui.painter import WebuiPainter

    url = url or ENGINES[engine][1]
    painter = ComfyPainter(url) if engine == "comfyui" else WebuiPainter(url)
    return painter.listing()


def _finder(spec: ExecutorSpec) -> Callable[[], Capabilities]:
    return lambda: spec.build().capabilities()
