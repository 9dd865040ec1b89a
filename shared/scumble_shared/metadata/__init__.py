"""What an image file says about how it was made, in our own words and in those of other tools."""

from __future__ import annotations

from .infotext import infotext
from .reading import CHUNK, PARAMETERS, read_settings, settings_in
from .record import record
from .settings import ImageSettings

__all__ = [
    "CHUNK",
    "PARAMETERS",
    "ImageSettings",
    "infotext",
    "read_settings",
    "record",
    "settings_in",
]
