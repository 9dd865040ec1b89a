"""What an image file says about how it was made, in our own words and in those of other tools."""

from __future__ import annotations

from .png import png_bytes

__all__ = ["png_bytes"]
