"""From which step to which something acts, as a property of Blender's."""

from __future__ import annotations

from typing import Any

import bpy

__all__ = ["part_of_steps"]


def part_of_steps(name: str, description: str, default: float) -> Any:
    """A fraction of the steps, 0 to 1, for the annotation of a property."""
    return bpy.props.FloatProperty(
        name=name, description=description, default=default, min=0.0, max=1.0, subtype="FACTOR"
    )
