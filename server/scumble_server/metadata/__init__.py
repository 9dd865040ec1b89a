"""Pictures that say how they were made; see :mod:`scumble_shared.metadata`, which reads them."""

from __future__ import annotations

from scumble_shared.metadata import ImageSettings, read_settings

from .png import png_bytes

__all__ = ["ImageSettings", "png_bytes", "read_settings"]
