"""Reference pictures beside the prompt: IP-Adapters, by diffusers' own projections and attention processors."""

from __future__ import annotations

from .adapter import LoadedAdapter, load_adapter
from .attending import Seen, attending
from .encoder import LoadedEncoder, load_encoder
from .prepare import prepared

__all__ = ["LoadedAdapter", "LoadedEncoder", "Seen", "attending", "load_adapter", "load_encoder", "prepared"]
