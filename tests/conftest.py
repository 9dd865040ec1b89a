"""For all tests: how long one example of a property takes says something of the machine, not of the property."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
