"""What ``scumble doctor`` looks at. Each check says what it found and, where something is wrong, the remedy."""

from __future__ import annotations

from .finding import Finding, Level

__all__ = ["Finding", "Level"]
