"""The scenes that the starter model's data comes from: built in real Blender, captured, the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STARTER = Path(__file__).parents[3] / "starter"
sys.path.insert(0, str(STARTER))
from views import GROUPS, HELD_OUT_SEED, NOTHING, PARTS, Views, decode_depth, from_octahedron, load_views  # noqa: E402


def captured(folder: Path, *arguments: str) -> Views:
    command = [sys.executable, str(STARTER / "capture.py"), str(folder), "--size", "32", "--views", "2", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return Views.joined([load_views(path) for path in sorted(folder.glob("*.npz"))])


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return captured(tmp_path_factory.mktemp("steps"), "--kind", "steps", "--count", "4")


def test_every_pixel_that_sees_something_knows_what_it_sees(steps: Views) -> None:
    hit = steps.depth > 0
    assert 0.1 < hit.mean() <= 1.0
    assert np.array_equal(hit, steps.part != NOTHING)
    assert steps.part[hit].max() < PARTS
    for row in range(len(hit)):
        groups = steps.group[row][steps.part[row][hit[row]]]
        assert groups.max() < GROUPS
        assert groups.max() >= 3, "there is an object, not only ground"
        assert all(steps.kind[row][group] for group in np.unique(groups)), "captions can name it"


def test_depth_and_normals_belong_together(steps: Views) -> None:
    """The floor's points, unprojected, lie in a plane whose normal is the one captured: up."""
    row = next(i for i in range(len(steps.part)) if (steps.group[i][steps.part[i] % PARTS] == 0).sum() > 50)
    depth = decode_depth(steps.depth[row], bool(steps.parallel[row]), steps.nearest[row], steps.farthest[row])
    depth, size = np.where(np.isfinite(depth), depth, 1.0), len(depth)
    y, x = np.meshgrid(1 - (np.arange(size) + 0.5) * 2 / size, (np.arange(size) + 0.5) * 2 / size - 1, indexing="ij")
    scale = steps.window[row] if steps.parallel[row] else steps.tan_half[row] * depth
    view = np.stack([x * scale, y * scale, -depth], axis=-1)
    matrix = steps.view[row]
    world = (view - matrix[:3, 3]) @ matrix[:3, :3]
    up = from_octahedron(steps.normal[row]) @ matrix[:3, :3]
    floor = (steps.part[row] != NOTHING) & (steps.group[row][steps.part[row] % PARTS] == 0) & (up[..., 2] > 0.99)
    assert floor.sum() > 20
    assert np.abs(world[floor][:, 2]).max() < 0.2


def test_the_same_seed_gives_the_same_views(steps: Views, tmp_path: Path) -> None:
    again = captured(tmp_path, "--kind", "steps", "--count", "4")
    assert np.array_equal(steps.depth, again.depth)
    assert np.array_equal(steps.part, again.part)
    assert np.array_equal(steps.source, again.source)


def test_held_out_scenes_have_kinds_and_seeds_of_their_own(steps: Views, tmp_path: Path) -> None:
    held_out = captured(tmp_path, "--held-out", "--count", "4")
    assert (held_out.source[:, 1] >= HELD_OUT_SEED).all()
    assert (steps.source[:, 1] < HELD_OUT_SEED).all()
    assert not set(held_out.source[:, 0].tolist()) & set(steps.source[:, 0].tolist())
