"""What an image file says about how it was made, in our own words and in those of other tools."""

from __future__ import annotations

from .png import png_bytes, read_settings
from .settings import ImageSettings, LoraUse

__all__ = ["ImageSettings", "LoraUse", "png_bytes", "read_settings"]
