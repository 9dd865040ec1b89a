"""Variations and sheets through the whole product: every picture is what its own settings make alone."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest

MODULE = "bl_ext.user_default.scumble"


@pytest.fixture
def running(api, scene):
    part = importlib.import_module(f"{MODULE}.sheets.running")
    scene.scumble.prompt, scene.scumble.num_inference_steps = "old {stone|moss} wall", 1
    yield part
    part.clear()


def test_variations_are_the_seeds_that_follow_each_with_its_own_words(api, scene, running):
    scene.scumble_sheet.count = 3
    assert bpy.ops.scumble.variations(wait=True) == {"FINISHED"}
    cells = running.current().cells()
    assert [cell.job.seed for cell in cells] == [5, 6, 7]
    assert all(cell.job.prompt in ("old stone wall", "old moss wall") for cell in cells)
    alone = api.generate(prompt=cells[1].job.prompt, seed=6).prepared["image/0"].pixels
    np.testing.assert_array_equal(cells[1].picture, alone)
    image = bpy.data.images[running.current().image]
    assert image.packed_file is not None
    assert image.size[0] > 3 * 64
    assert image.use_fake_user


def test_a_sheet_has_a_row_and_a_column_for_each_value_and_its_pictures_can_be_taken(api, scene, running):
    sheet = scene.scumble_sheet
    sheet.x, sheet.x_values, sheet.y, sheet.y_values = "steps", "1, 2", "prompt", "wall, tower"
    bpy.ops.scumble.sheet(wait=True)
    cells = running.current().cells()
    assert [cell.job.num_inference_steps for cell in cells] == [1, 2, 1, 2]
    assert [cell.job.prompt.split()[-1] for cell in cells] == ["wall", "wall", "tower", "tower"]
    bpy.ops.scumble.sheet_take(index=3)
    settings = scene.scumble
    assert (settings.num_inference_steps, settings.prompt, settings.lock_seed) == (2, cells[3].job.prompt, True)


def test_values_that_make_no_sense_start_nothing(api, scene, running):
    scene.scumble_sheet.x, scene.scumble_sheet.x_values = "steps", "many"
    with pytest.raises(RuntimeError, match="whole number"):
        bpy.ops.scumble.sheet()
    assert running.current() is None


def test_a_sheet_that_is_stopped_keeps_what_is_there(api, scene, running):
    scene.scumble_sheet.count = 12
    bpy.ops.scumble.variations()
    sheet = running.current()
    while sheet.done < 1:
        api.step()
    bpy.ops.scumble.sheet_cancel()
    while running.current() is sheet and not sheet.image:
        api.step()
    made = [cell for cell in sheet.cells() if cell.picture is not None]
    assert 1 <= len(made) < 12
    assert sheet.image in bpy.data.images
