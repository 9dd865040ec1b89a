"""Both ways of looking, as parameters."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

# Capture by itself: the add-on's own start-up code needs wheels that only an installed extension has.
package = ModuleType("blender_addon")
package.__path__ = [str(Path(__file__).parents[3] / "blender_addon")]
sys.modules["blender_addon"] = package


@pytest.fixture(params=["gpu", "cycles"])
def method(request, empty_scene) -> str:
    """Every test that takes it runs once per capture path; the scene is empty at the start."""
    if request.param == "gpu":
        request.getfixturevalue("gpu_ready")
    return request.param


@pytest.fixture
def gpu(gpu_ready, empty_scene) -> str:
    return "gpu"
