"""A file server that misbehaves on command, and a network that doesn't wait long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from scumble_server.models.transfer_http import Network

sys.path.insert(0, str(Path(__file__).parent))  # makes file_server importable by the tests here

from file_server import FileServer


class Watch:
    """Hooks that remember; ``stop_at`` ends the download when that many bytes are there."""

    class Stopped(Exception):
        pass

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.steps = stop_at, []

    def progress(self, done, total):
        self.steps.append((done, total))

    def check_cancelled(self):
        if self.stop_at is not None and self.steps and self.steps[-1][0] >= self.stop_at:
            raise self.Stopped


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch, tmp_path):
    """Proxies, tokens and mirrors of whoever runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "SCUMBLE_", "CIVITAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "nobody-logged-in"))


@pytest.fixture
def start_server():
    servers = []

    def start(prepare=lambda server: None):
        server = FileServer()
        prepare(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def network(server):
    return Network(hub=server.url, timeout=0.4, attempts=3, backoff=0.01, minimum_rate=1, disk_reserve=0)


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def watch_until():
    return Watch


@pytest.fixture
def weights():
    """Bytes of a small .safetensors file, of tensors with these names; another seed, another content."""

    def weights(*names, seed=0, size=64):
        random = np.random.default_rng(seed)
        return save({name: random.normal(size=(size, size)).astype(np.float32) for name in names or ("a", "b")})

    return weights


@pytest.fixture
def links(tmp_path):
    """Skips where links need a privilege, as on Windows."""
    try:
        (tmp_path / "link").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system doesn't allow links")
    (tmp_path / "link").unlink()


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
