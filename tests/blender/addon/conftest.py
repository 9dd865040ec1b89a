"""The built extension, installed into this Blender's isolated profile as an artist would install it."""

from __future__ import annotations

import importlib
import os
import subprocess
from pathlib import Path
from types import ModuleType

import bpy
import pytest

ROOT = Path(__file__).parents[3]
MODULE = "bl_ext.user_default.scumble"
SERVER_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command, in the server's environment."""
    folder = tmp_path_factory.mktemp("dist")
    command = [SERVER_PYTHON, "-m", "scumble_server.cli", "build-addon", "--output", folder]
    # Building leaves word where the server is; not in the home of whoever runs the tests.
    environment = {**os.environ, "SCUMBLE_HOME": str(folder / "home")}
    subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=ROOT, env=environment, timeout=120)
    return next(folder.glob("*.zip"))


@pytest.fixture(scope="session")
def extension(extension_zip: Path) -> ModuleType:
    """The enabled extension's package."""
    bpy.ops.extensions.package_install_files(
        filepath=str(extension_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert MODULE in bpy.context.preferences.addons
    return importlib.import_module(MODULE)
