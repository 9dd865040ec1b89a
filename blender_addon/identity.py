"""What this extension is called at run time; the name depends on the repository it was installed from."""

from __future__ import annotations

from scumble_shared import __version__

__all__ = ["CLIENT", "OWN_UV_MAP", "PACKAGE"]

PACKAGE = __package__
"""Key of the preferences, and of the extension's own folder."""

CLIENT = f"Scumble for Blender {__version__}"
"""For the server's log."""

OWN_UV_MAP = "Scumble"
"""Name of the UV map that an unwrap adds to an object that has maps already. Where there is one, it is painted on."""
