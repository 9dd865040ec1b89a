"""Small servers that check what they are asked as ComfyUI and AUTOMATIC1111 do, over real HTTP and websockets."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from scumble_server.service import JobCancelled

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_server import ComfyServer
from webui_server import WebuiServer


class Hooks:
    """Remembers; ``cancel_at`` ends the job at that step. ``seen`` is set at the first progress of the work itself."""

    def __init__(self, cancel_at=None, previews=True):
        self.steps, self.stages, self.previews = [], [], []
        self._cancel_at, self._wants = cancel_at, previews

    def progress(self, stage, step=0, steps=0, fraction=None):
        self.stages.append(stage)
        if stage == "denoising":
            self.steps.append((step, steps))

    def wants_preview(self):
        return self._wants

    def preview(self, image, step, steps):
        self.previews.append(image)

    def check_cancelled(self):
        if self._cancel_at is not None and self.steps and self.steps[-1][0] >= self._cancel_at:
            raise JobCancelled


@pytest.fixture
def hooks():
    return Hooks


def running(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def comfyui():
    yield from running(ComfyServer())


@pytest.fixture
def webui():
    yield from running(WebuiServer())
