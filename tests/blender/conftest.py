"""Real Blender in a test: an isolated profile, an empty scene per test, an end that can't crash or hang.

Everything under ``tests/blender`` runs in Blender's own Python (the ``bpy`` wheel). Where there is no ``bpy``,
nothing here is collected.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
for folder in (ROOT, ROOT / "shared", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # blender_addon, scumble_shared, and helpers beside the tests

HAS_BLENDER = importlib.util.find_spec("bpy") is not None
HAS_EGL = sys.platform != "linux" or ctypes.util.find_library("EGL") is not None
collect_ignore_glob = [] if HAS_BLENDER else ["*"]

if HAS_BLENDER:
    _profile = tempfile.mkdtemp(prefix="scumble-blender-profile-")
    os.environ["BLENDER_USER_RESOURCES"] = _profile  # read once, when bpy is imported
    import bpy

_exit_status: int | None = None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Blender's own end of process segfaults on a live offscreen (5.2) and hangs on a live timer (4.5)."""
    if HAS_BLENDER and _exit_status is not None:
        shutil.rmtree(_profile, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status)


@pytest.fixture
def empty_scene() -> bpy.types.Scene:
    """Blender's factory state without any object; add-ons that are enabled stay enabled."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


@pytest.fixture(scope="session")
def gpu_ready() -> None:
    """Skips where Blender can't draw at all; asking it to would abort the process."""
    if not HAS_EGL:
        pytest.skip("no libEGL: this machine can't draw")


@pytest.fixture
def blender_profile() -> Path:
    """The isolated user folder this Blender runs with (BLENDER_USER_RESOURCES)."""
    return Path(_profile)
