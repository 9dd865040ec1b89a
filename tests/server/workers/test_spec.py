"""The environment an engine is built in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from scumble_server.workers.spec import ExecutorSpec

ASK_OPENMP = """
from scumble_server.workers.spec import ExecutorSpec
ExecutorSpec("torch:get_num_threads").build()
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def built() -> str | None:
    ExecutorSpec("builtins:dict").build()
    return os.environ.get("OMP_WAIT_POLICY")


def test_fetches_nothing():
    built()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_has_its_threads_sleep_while_they_wait():
    assert built() == "passive"


def test_leaves_a_users_own_choice(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert built() == "active"
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP says it in other words")
def test_reaches_the_openmp_that_torch_brings():
    pytest.importorskip("torch")
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose"}
    command = [sys.executable, "-c", ASK_OPENMP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr, done.stderr
    assert "GOMP_SPINCOUNT = '2000'" in done.stderr, done.stderr
