"""A real server on a real socket, with the desk of ``desk.py`` behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for desk.py, running.py and wire.py

from running import running
from wire import Wire


@pytest.fixture
def server():
    with running() as it:
        yield it


@pytest.fixture
def run_server():
    return running


@pytest.fixture
def wire(server):
    with server.open() as websocket:
        wire = Wire(websocket)
        wire.identify()
        yield wire
