"""Import this first: the add-on's modules become importable without its start-up code, which needs a wheel."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

__all__ = ["ROOT"]

ROOT = Path(__file__).parents[1]

if "blender_addon" not in sys.modules:
    sys.path.insert(0, str(ROOT / "shared"))
    package = ModuleType("blender_addon")
    package.__path__ = [str(ROOT / "blender_addon")]
    sys.modules["blender_addon"] = package
