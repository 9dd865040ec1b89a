"""The benchmark for GPUs, rehearsed on a processor: it can be run in pieces, and tells what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
MODEL = "sd35-medium"


def rehearse(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), "--tiny", "--only", MODEL, "--repeat", "1", "--output", str(output)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=600, env=environment)


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    at_once = rehearse(folder, "--minutes", "0")
    assert at_once.returncode == 3, at_once.stderr  # there is more to do
    assert not list((folder / "gpu-tiny").glob("*.json"))
    whole = rehearse(folder)
    assert whole.returncode == 0, whole.stderr
    return folder


def test_every_contestant_was_measured(output):
    measured = json.loads((output / "gpu_tiny.json").read_text(encoding="utf-8"))["measurements"]
    times = {row["name"].rpartition(": ")[2]: row for row in measured if row["unit"] == "ms"}
    assert set(times) == {"diffusers", "diffusers, compiled", "Scumble"}
    assert all(row["value"] > 0.0 and row["goal"] is None for row in times.values())  # goals are an H100's


def test_what_was_measured_stays_so(output):
    kept = {path: path.stat().st_mtime_ns for path in (output / "gpu-tiny").glob("*.json")}
    assert len(kept) == 3
    assert rehearse(output, "--minutes", "0").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_plot_has_a_bar_for_each(output):
    picture = ElementTree.parse(output / "gpu_tiny.svg")
    bars = [rectangle for rectangle in picture.iter("{http://www.w3.org/2000/svg}rect") if rectangle.get("rx")]
    assert len(bars) == 3
    assert max(float(bar.get("width")) for bar in bars) == 900 - 210 - 80


def test_without_a_gpu_it_says_what_can_be_done(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(BENCHMARK), "--output", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert told.returncode == 1
    assert "--tiny" in told.stderr
