"""LoRAs: changes to a model's weights for one job, read from any of the formats people have them in."""

from __future__ import annotations

from .changes import Changes, Wanted, versions

__all__ = ["Changes", "Wanted", "versions"]
