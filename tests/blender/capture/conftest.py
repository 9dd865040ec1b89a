"""Both ways of looking, as parameters."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["gpu", "cycles"])
def method(request, empty_scene) -> str:
    """Every test that takes it runs once per capture path; the scene is empty at the start."""
    if request.param == "gpu":
        request.getfixturevalue("gpu_ready")
    return request.param


@pytest.fixture
def gpu(gpu_ready, empty_scene) -> str:
    return "gpu"
