"""Other programs that can paint for the server, whether they are there."""

from __future__ import annotations

from scumble_shared.errors import ScumbleError

from ..engines.choose import ENGINES, look
from .finding import Finding, Level

__all__ = ["engine_findings"]


def engine_findings(engine: str = "own", url: str = "") -> list[Finding]:
    """Of the one that is to paint, a problem if it isn't reached; of the others where they usually are, a word."""
    if engine != "own":
        return [_asked(engine, url)]
    return [_usual(name, place) for name, (_, place) in ENGINES.items()]


def _asked(engine: str, url: str) -> Finding:
    try:
        return Finding("engine", Level.OK, _words(engine, url or ENGINES[engine][1]))
    except ScumbleError as error:
        remedy = error.info.remedy.label if error.info.remedy else "Write its address as it stands in its own window"
        return Finding("engine", Level.PROBLEM, error.info.message, remedy)


def _usual(engine: str, url: str) -> Finding:
    try:
        text = f"{_words(engine, url)}; to have it paint: scumble serve --engine {engine}"
        return Finding("engine", Level.OK, text)
    except ScumbleError:
        return Finding("engine", Level.NOTE, f"no {engine} at {url}, which is fine: Scumble paints itself")


def _words(engine: str, url: str) -> str:
    found = look(engine, url)
    counts = f"{len(found.models)} models, {len(found.controlnets)} ControlNets, {len(found.loras)} LoRAs"
    return f"{found.device or found.program} answers at {url}: {counts}"
