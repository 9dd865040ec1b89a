"""Where the one session of this Blender is kept between enabling and disabling."""

from __future__ import annotations

from .session import Session

__all__ = ["install", "session"]

_session: Session | None = None


def session() -> Session:
    """The session while the extension is enabled."""
    assert _session is not None, "Scumble is not enabled"
    return _session


def install(value: Session | None) -> None:
    global _session
    _session = value
