"""Blender as an artist has it, with the built extension and its own wheels, and a real server process beside it.

Runs in Blender's own Python (the ``bpy`` wheel); the server runs in its own environment, ``.venv``. Where there is no
``bpy``, nothing here is collected.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MODULE = "bl_ext.user_default.scumble"
SERVER_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

HAS_BLENDER = importlib.util.find_spec("bpy") is not None
collect_ignore_glob = [] if HAS_BLENDER else ["*"]

if HAS_BLENDER:
    _profile = tempfile.mkdtemp(prefix="scumble-blender-profile-")
    os.environ["BLENDER_USER_RESOURCES"] = _profile  # read once, when bpy is imported
    os.environ["SCUMBLE_HOME"] = str(Path(_profile, "scumble"))
    os.environ["OMP_NUM_THREADS"] = "1"
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


@pytest.fixture(scope="session")
def profile() -> Path:
    return Path(_profile)


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command, in the server's environment."""
    folder = tmp_path_factory.mktemp("dist")
    command = [SERVER_PYTHON, "-m", "scumble_server.cli", "build-addon", "--output", folder]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=ROOT, timeout=120)
    return next(folder.glob("*.zip"))


@pytest.fixture(scope="session")
def addon(extension_zip: Path) -> Iterator[ModuleType]:
    """The enabled extension's package, told where the server is."""
    bpy.ops.extensions.package_install_files(
        filepath=str(extension_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    package = importlib.import_module(MODULE)
    bpy.context.preferences.addons[MODULE].preferences.server_path = str(SERVER_PYTHON)
    yield package
    bpy.ops.preferences.addon_disable(module=MODULE)


@pytest.fixture
def api(addon: ModuleType) -> ModuleType:
    """The extension's Python API; the server is started by the first test that needs it, and shared."""
    return importlib.import_module(f"{MODULE}.api")


@pytest.fixture
def preferences(addon: ModuleType) -> Iterator[object]:
    """Put back afterwards; a changed connection is ended."""
    current = bpy.context.preferences.addons[MODULE].preferences
    before = {name: getattr(current, name) for name in ("connection", "server_path", "url", "token")}
    yield current
    for name, value in before.items():
        setattr(current, name, value)
    importlib.import_module(f"{MODULE}.api").disconnect()


@pytest.fixture
def scene(addon: ModuleType) -> bpy.types.Scene:
    """A new file: a camera straight above a square of two units that fills its view, nothing else."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 64
    data = bpy.data.cameras.new("Camera")
    data.type, data.ortho_scale = "ORTHO", 2.0
    scene.camera = bpy.data.objects.new("Camera", data)
    scene.camera.location.z = 3.0
    scene.collection.objects.link(scene.camera)
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    settings = scene.scumble
    settings.source, settings.prompt, settings.seed, settings.lock_seed = "CAMERA", "old stone", 5, True
    settings.width = settings.height = settings.texture_size = 64
    settings.num_inference_steps = 2
    bpy.ops.ed.undo_push(message="Start")
    return scene
