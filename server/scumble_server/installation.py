"""Leaves word where this installation is, so that the Blender extension can start its server by itself."""

from __future__ import annotations

import sys

from scumble_shared import __version__
from scumble_shared.runtime import InstallRecord, write_install_record

__all__ = ["remember_installation"]


def remember_installation() -> None:
    """The last installation that served or built the extension is the one the extension starts."""
    write_install_record(InstallRecord((sys.executable, "-m", "scumble_server.cli", "serve"), __version__))
